//! The contract as types, and whether a component's `run` is the contract's.

use wasmparser::{
    Validator,
    component_types::{ComponentAnyTypeId, ComponentEntityType, ComponentTypeId},
    types::{Types, TypesRef},
};

use super::Finding;

/// `wit/`, encoded by the build script: a component that exports each world as a type.
pub(super) const CONTRACT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contract.wasm"));

include!(concat!(env!("OUT_DIR"), "/contracts.rs"));

/// The contract's package.
pub(super) const PACKAGE: &str = "triggerbox:automation";

/// The full name of one of the contract's interfaces, as this host links it: `triggerbox:automation/records@0.1.1`.
#[must_use]
pub fn full_name(interface: &str) -> String {
    format!("{PACKAGE}/{interface}@{VERSION}")
}

/// Whether a host of a version answers to the names of another: within one major version, and one minor version before
/// 1.0, a newer host answers to older names.
pub(super) fn links(built_for: &str, host: &str) -> bool {
    let parts = |version: &str| {
        let mut parts = version.split(['.', '-', '+']).map(|part| part.parse::<u64>().unwrap_or_default());
        [parts.next(), parts.next(), parts.next()].map(Option::unwrap_or_default)
    };
    let ([major, minor, patch], [their_major, their_minor, their_patch]) = (parts(built_for), parts(host));
    match (major, minor) {
        (0, 0) => built_for == host,
        (0, _) => (0, minor) == (their_major, their_minor) && patch <= their_patch,
        _ => major == their_major && (minor, patch) <= (their_minor, their_patch),
    }
}

/// The world that scripts are built for, as types.
pub(super) struct World {
    types: Types,
    world: ComponentTypeId,
}

impl World {
    /// The world, as types of this validator: only those that one validator saw can be compared.
    pub(super) fn parse(validator: &mut Validator, contract: &[u8]) -> Option<Self> {
        let types = validator.validate_all(contract).ok()?;
        validator.reset();
        let world = {
            let types = types.as_ref();
            let export = types.component_item_for_export("automation")?;
            let ComponentEntityType::Type { referenced: ComponentAnyTypeId::Component(wrapper), .. } = export.ty else {
                return None;
            };
            let (_, inner) = types.get(wrapper)?.exports.iter().next()?;
            let ComponentEntityType::Component(world) = inner.ty else { return None };
            world
        };
        Some(Self { types, world })
    }

    pub(super) fn types(&self) -> TypesRef<'_> {
        self.types.as_ref()
    }

    /// What the host provides under an import's name.
    pub(super) fn import(&self, name: &str) -> Option<ComponentEntityType> {
        Some(self.types().get(self.world)?.imports.get(name)?.ty)
    }

    /// Names of all that the host provides.
    pub(super) fn imports(&self) -> Vec<&str> {
        self.types()
            .get(self.world)
            .map(|world| world.imports.keys().map(String::as_str).filter(|name| name.contains(':')).collect())
            .unwrap_or_default()
    }

    /// The name under which the host provides an interface to a component that was built for a version of it.
    pub(super) fn answers(&self, interface: &str, built_for: &str) -> Option<&str> {
        self.imports().into_iter().find(|known| {
            known.split_once('@').is_some_and(|(name, version)| name == interface && links(built_for, version))
        })
    }

    fn run(&self) -> Option<ComponentEntityType> {
        Some(self.types().get(self.world)?.exports.get("run")?.ty)
    }
}

/// Whether the component exports `run` with the contract's type.
pub(super) fn check_run(types: TypesRef<'_>, world: &World) -> Result<(), Finding> {
    let Some(export) = types.component_item_for_export("run") else {
        return Err(Finding {
            code: "no-run",
            message: format!("the component exports no `run`: build it for the world `{PACKAGE}/automation`"),
        });
    };
    let ComponentEntityType::Func(_) = export.ty else {
        return Err(Finding {
            code: "wrong-run",
            message: "the component's export `run` is not a function".to_owned(),
        });
    };
    let run = world.run();
    if run.is_some_and(|run| ComponentEntityType::is_subtype_of(&export.ty, types, &run, world.types())) {
        return Ok(());
    }
    Err(Finding {
        code: "wrong-run",
        message: format!(
            "the component's `run` takes or returns other types than `{PACKAGE}` {VERSION}: build it with this host's `wit/`"
        ),
    })
}
