//! Whether this host has what a component imports.

use serde::Serialize;
use wasmparser::{component_types::ComponentEntityType, types::TypesRef};

use super::contract::{PACKAGE, VERSION, World, full_name};

/// One import of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Import {
    /// `wasi:cli/stdout@0.2.6`
    pub name: String,
    /// Whether the host has it.
    pub status: ImportStatus,
    /// The functions of the contract that it uses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<String>,
    /// What to do, if something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Whether the host has what is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ImportStatus {
    /// It has.
    Offered,
    /// It links, but calls fail at run time.
    Denied,
    /// It has not.
    Missing,
}

/// The version of WASI that the host links; any 0.2 release fits, as long as it uses nothing newer.
const WASI: &str = "0.2.12";

/// WASI's interfaces that are linked. The flag: its calls fail at run time.
const WASI_INTERFACES: &[(&str, bool)] = &[
    ("wasi:cli/environment", false),
    ("wasi:cli/exit", false),
    ("wasi:cli/stderr", false),
    ("wasi:cli/stdin", false),
    ("wasi:cli/stdout", false),
    ("wasi:cli/terminal-input", false),
    ("wasi:cli/terminal-output", false),
    ("wasi:cli/terminal-stderr", false),
    ("wasi:cli/terminal-stdin", false),
    ("wasi:cli/terminal-stdout", false),
    ("wasi:clocks/monotonic-clock", false),
    ("wasi:clocks/wall-clock", false),
    ("wasi:filesystem/preopens", true),
    ("wasi:filesystem/types", true),
    ("wasi:io/error", false),
    ("wasi:io/poll", false),
    ("wasi:io/streams", false),
    ("wasi:random/insecure", false),
    ("wasi:random/insecure-seed", false),
    ("wasi:random/random", false),
    ("wasi:sockets/instance-network", true),
    ("wasi:sockets/ip-name-lookup", true),
    ("wasi:sockets/network", true),
    ("wasi:sockets/tcp", true),
    ("wasi:sockets/tcp-create-socket", true),
    ("wasi:sockets/udp", true),
    ("wasi:sockets/udp-create-socket", true),
];

/// Judges one import of a component with these types.
pub(super) fn judge(name: &str, types: TypesRef<'_>, world: &World) -> Import {
    let (status, note) = match wasi(name).or_else(|| contract(name, types, world)) {
        Some(Ok(status)) => (status, None),
        Some(Err(note)) => (ImportStatus::Missing, Some(note)),
        None => (ImportStatus::Missing, Some(missing(name, world))),
    };
    Import { name: name.to_owned(), status, functions: functions(name, types), note }
}

/// The functions that a component takes from an interface of the contract.
fn functions(name: &str, types: TypesRef<'_>) -> Vec<String> {
    if !name.starts_with(PACKAGE) {
        return Vec::new();
    }
    let Some(ComponentEntityType::Instance(instance)) = types.component_item_for_import(name).map(|item| item.ty)
    else {
        return Vec::new();
    };
    let exports = types.get(instance).map(|instance| &instance.exports);
    let functions = exports.into_iter().flatten().filter(|(_, item)| matches!(item.ty, ComponentEntityType::Func(_)));
    functions.map(|(name, _)| name.clone()).collect()
}

/// `namespace:package/interface` and the version.
pub(super) fn split(name: &str) -> (&str, Option<&str>) {
    name.split_once('@').map_or((name, None), |(name, version)| (name, Some(version)))
}

fn wasi(name: &str) -> Option<Result<ImportStatus, String>> {
    let (interface, version) = split(name);
    let (_, denied) = WASI_INTERFACES.iter().find(|(known, _)| *known == interface)?;
    let version = version.unwrap_or_default();
    let fits = version.strip_prefix("0.2.").is_some_and(|patch| patch.parse::<u32>().is_ok());
    Some(match (fits, denied) {
        (false, _) => Err(format!("imports `{name}`; this host offers `{interface}@{WASI}`")),
        (true, true) => Ok(ImportStatus::Denied),
        (true, false) => Ok(ImportStatus::Offered),
    })
}

/// Judges an import of the contract by its types. Names of older versions of it lead to the same interfaces.
fn contract(name: &str, types: TypesRef<'_>, world: &World) -> Option<Result<ImportStatus, String>> {
    let known = match split(name) {
        (interface, Some(version)) => world.answers(interface, version)?,
        // A type that the world takes out of an interface.
        (_, None) => name,
    };
    compared(name, known, types, world)
}

/// Compares what is imported under one name with what the world has under another: the same interface, in another version.
pub(super) fn compared(
    name: &str,
    theirs: &str,
    types: TypesRef<'_>,
    world: &World,
) -> Option<Result<ImportStatus, String>> {
    let offered = world.import(theirs)?;
    let wanted = types.component_item_for_import(name)?.ty;
    if ComponentEntityType::is_subtype_of(&offered, world.types(), &wanted, types) {
        return Some(Ok(ImportStatus::Offered));
    }
    let missing = match (offered, wanted) {
        (ComponentEntityType::Instance(offered), ComponentEntityType::Instance(wanted)) => {
            let (offered, wanted) = (world.types().get(offered)?, types.get(wanted)?);
            let mut missing = wanted.exports.iter().filter(|(item, _)| !offered.exports.contains_key(*item));
            // Types come with the functions that need them: these say more.
            let function = missing.clone().find(|(_, item)| matches!(item.ty, ComponentEntityType::Func(_)));
            function.or_else(|| missing.next()).map(|(item, _)| item.clone())
        }
        _ => None,
    };
    Some(Err(match missing {
        Some(item) => format!("imports `{item}` of `{name}`, which this host's version of it does not have"),
        None => format!("imports `{name}` with other types than this host's: build it with this host's `wit/`"),
    }))
}

/// The text for an import that the host knows under no version.
fn missing(name: &str, world: &World) -> String {
    let (interface, _) = split(name);
    let world = world.imports();
    if let Some(other) = world.iter().find(|known| split(known).0 == interface) {
        return format!("imports `{name}`; this host offers `{other}`");
    }
    if interface.starts_with("wasi:http/") {
        let offered = full_name("http");
        return format!(
            "imports `{name}`, which this host does not offer; scripts call other services through `{offered}`"
        );
    }
    let known = WASI_INTERFACES.iter().map(|(known, _)| *known).chain(world.iter().map(|known| split(known).0));
    match triggerbox_model::text::nearest(interface, known) {
        Some(near) => {
            let version = if near.starts_with("wasi:") { WASI } else { VERSION };
            format!("imports `{name}`, which this host does not offer; the nearest is `{near}@{version}`")
        }
        None => format!("imports `{name}`, which this host does not offer"),
    }
}
