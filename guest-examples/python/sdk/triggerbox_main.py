"""What the host calls: hands the event to `run` in `script.py`, and its answer back."""

import script
import wit_world
from triggerbox.event import Event, outcome
from triggerbox.errors import failure


class WitWorld(wit_world.WitWorld):
    def run(self, event):
        try:
            answer = script.run(Event(event))
        except Exception as error:
            # What is no error of the host's or the script's own ends in a traceback and a trap.
            expected = failure(error)
            if expected is None:
                raise
            raise expected from None
        return outcome(answer)
