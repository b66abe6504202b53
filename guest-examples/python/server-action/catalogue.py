"""`env['ir.model']`: models by name. Actions ask for one where a record needs to say which model it belongs to; nobody is
granted the server's own tables for that."""

from errors import NotHere


class ModelId(int):
    """Stands for the number of a model; no table here has it."""

    def __new__(cls, model):
        number = super().__new__(cls, 0)
        number.model = model
        return number

    def __bool__(self):
        return True


class ModelRecord:
    """One model, by its name."""

    __slots__ = ("model", "_env")

    def __init__(self, env, model):
        self._env, self.model = env, model

    @property
    def id(self):
        return ModelId(self.model)

    def __bool__(self):
        return bool(self.model)

    def __repr__(self):
        return f"ir.model({self.model})"


class Models:
    """What code may ask of `env['ir.model']`."""

    __slots__ = ("_env",)

    def __init__(self, env):
        self._env = env

    def _get(self, name):
        return ModelRecord(self._env, name)

    def _get_id(self, name):
        return ModelId(name)

    def sudo(self, flag=True):
        """Names of models are no secret."""
        return self

    def search(self, domain, limit=None, **_):
        match list(domain):
            case [("model", "=", str(name)) | ["model", "=", str(name)]]:
                return ModelRecord(self._env, name if name in self._env else None)
        raise NotHere("of ir.model one thing is known here: search([('model', '=', name)])")

    def __getattr__(self, name):
        raise NotHere(f"of ir.model nothing but _get, _get_id and search([('model', '=', name)]) is known here, not {name}")


def named(values):
    """Values that name their model by number, naming it by its name."""
    number = values.get("res_model_id")
    if hasattr(number, "model"):
        values = {**values, "res_model": number.model}
        values.pop("res_model_id")
    return values
