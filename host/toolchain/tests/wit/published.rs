//! The contract against its last published version: what was added, what was changed, and whether its number says so.
//!
//! A component names each function and type that it uses in full: records and enums cannot grow without breaking it, so any
//! change of what is published is one that breaks. New functions, types and interfaces are additions.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use semver::Version;
use wit_bindgen_core::wit_parser::{Resolve, Stability, Type, TypeDefKind, WorldItem};

use crate::wit;

/// Where published versions are, one folder each, below `wit/`.
const PUBLISHED: &str = "published";

/// A package as a list: what each of its items is.
struct Package {
    version: Version,
    items: BTreeMap<String, String>,
    /// The version that an item says it came with.
    since: BTreeMap<String, Version>,
}

/// What became of a package.
#[derive(Debug, Default, PartialEq, Eq)]
struct Difference {
    added: Vec<String>,
    broken: Vec<String>,
}

/// Fails if the contract's number does not say what was done to it since the last published version.
pub(crate) fn check() -> Result<()> {
    let Some((last, folder)) = last()? else { return Ok(()) };
    let (old, new) = (Package::read(&folder)?, Package::read(&wit())?);
    ensure!(old.version == last, "{} holds version {}", folder.display(), old.version);
    judge(&old, &new)?;
    Ok(())
}

/// Fails if something that came after the first version does not say with which.
pub(crate) fn check_marks() -> Result<()> {
    let mut packages = all()?.iter().map(|(_, folder)| Package::read(folder)).collect::<Result<Vec<_>>>()?;
    packages.push(Package::read(&wit())?);
    for (old, new) in packages.iter().zip(packages.iter().skip(1)) {
        marked(old, new)?;
    }
    Ok(())
}

fn marked(old: &Package, new: &Package) -> Result<()> {
    for name in difference(old, new).added {
        // What is in an interface came with it, if it does not say otherwise.
        let interface = name.split('.').next().unwrap_or_default();
        let since = new.since.get(&name).or_else(|| new.since.get(interface));
        let now = &new.version;
        ensure!(
            name.contains(' ') || since == Some(now),
            "{name} came with {now}: mark it with @since(version = {now})"
        );
    }
    Ok(())
}

/// Freezes the contract as it is.
pub(crate) fn publish() -> Result<()> {
    let wit = wit();
    let new = Package::read(&wit)?;
    if let Some((last, folder)) = last()? {
        ensure!(new.version > last, "{last} is published, and no version is published twice: raise the number in wit/");
        judge(&Package::read(&folder)?, &new)?;
    }
    let folder = wit.join(PUBLISHED).join(new.version.to_string());
    fs::create_dir_all(&folder)?;
    fs::copy(wit.join("automation.wit"), folder.join("automation.wit"))?;
    println!("published {}", new.version);
    Ok(())
}

/// The last published version.
fn last() -> Result<Option<(Version, PathBuf)>> {
    Ok(all()?.pop())
}

/// All published versions, the oldest first.
fn all() -> Result<Vec<(Version, PathBuf)>> {
    let mut versions = Vec::new();
    for entry in fs::read_dir(wit().join(PUBLISHED)).context(PUBLISHED)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        versions.push((Version::parse(&name).with_context(|| format!("{PUBLISHED}/{name}"))?, path));
    }
    versions.sort();
    Ok(versions)
}

/// Whether the new number is right for what changed.
fn judge(old: &Package, new: &Package) -> Result<()> {
    let difference = difference(old, new);
    let (last, now) = (&old.version, &new.version);
    let line = |version: &Version| if version.major > 0 { (version.major, 0) } else { (0, version.minor) };
    ensure!(now >= last, "the contract has the number {now}, and {last} is published");
    ensure!(
        difference.broken.is_empty() || line(now) > line(last),
        "the contract {now} breaks scripts that were built for the published {last}: {}; leave these as they were, or \
         raise the number to another line",
        difference.broken.join(", ")
    );
    let minor = line(now) > line(last) || (now.minor, now.patch) > (last.minor, last.patch);
    ensure!(
        difference.added.is_empty() || minor,
        "the contract {now} has more than the published {last}: {}; raise the number",
        difference.added.join(", ")
    );
    Ok(())
}

fn difference(old: &Package, new: &Package) -> Difference {
    let mut difference = Difference::default();
    for (name, item) in &old.items {
        match new.items.get(name) {
            None => difference.broken.push(format!("{name} is gone")),
            Some(now) if now != item => difference.broken.push(format!("{name} was `{item}` and is `{now}`")),
            Some(_) => {}
        }
    }
    for name in new.items.keys().filter(|name| !old.items.contains_key(*name)) {
        match name.contains(" exports ") {
            // Scripts that are there do not export it.
            true => difference.broken.push(format!("{name}, which no script has")),
            false => difference.added.push(name.clone()),
        }
    }
    difference
}

impl Package {
    fn read(folder: &Path) -> Result<Self> {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(folder).with_context(|| format!("{} does not parse", folder.display()))?;
        Self::of(&resolve, package)
    }

    fn of(resolve: &Resolve, id: wit_bindgen_core::wit_parser::PackageId) -> Result<Self> {
        let package = &resolve.packages[id];
        let version = package.name.version.clone().context("the package has no version")?;
        let (mut items, mut since) = (BTreeMap::new(), BTreeMap::new());
        let mut add = |name: String, what: String, stability: &Stability| {
            if let Stability::Stable { since: version, .. } = stability {
                since.insert(name.clone(), version.clone());
            }
            items.insert(name, what);
        };
        for (name, id) in &package.interfaces {
            let interface = &resolve.interfaces[*id];
            add(name.clone(), "interface".to_owned(), &interface.stability);
            for (type_name, id) in &interface.types {
                let item = &resolve.types[*id];
                add(format!("{name}.{type_name}"), definition(resolve, &item.kind), &item.stability);
            }
            for (function_name, function) in &interface.functions {
                add(format!("{name}.{function_name}"), signature(resolve, function), &function.stability);
            }
        }
        for (name, id) in &package.worlds {
            let world = &resolve.worlds[*id];
            for (direction, side) in [("imports", &world.imports), ("exports", &world.exports)] {
                for (key, item) in side {
                    // Interfaces are the same ones whatever their number.
                    let key = resolve.name_world_key(key);
                    let key = key.split('@').next().unwrap_or(&key);
                    let what = match item {
                        WorldItem::Function(function) => signature(resolve, function),
                        WorldItem::Interface { .. } => "interface".to_owned(),
                        WorldItem::Type { .. } => "type".to_owned(),
                    };
                    items.insert(format!("{name} {direction} {key}"), what);
                }
            }
        }
        Ok(Self { version, items, since })
    }
}

fn signature(resolve: &Resolve, function: &wit_bindgen_core::wit_parser::Function) -> String {
    let params = function.params.iter().map(|param| format!("{}: {}", param.name, told(resolve, &param.ty)));
    let result = function.result.as_ref().map(|result| format!(" -> {}", told(resolve, result))).unwrap_or_default();
    format!("func({}){result}", params.collect::<Vec<_>>().join(", "))
}

fn told(resolve: &Resolve, kind: &Type) -> String {
    match kind {
        Type::Id(id) => match &resolve.types[*id].name {
            Some(name) => name.clone(),
            None => definition(resolve, &resolve.types[*id].kind),
        },
        plain => format!("{plain:?}").to_lowercase(),
    }
}

fn definition(resolve: &Resolve, kind: &TypeDefKind) -> String {
    let told = |kind: &Type| told(resolve, kind);
    let maybe = |kind: &Option<Type>| kind.as_ref().map_or_else(|| "_".to_owned(), &told);
    let joined = |parts: Vec<String>| parts.join(", ");
    match kind {
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter().map(|field| format!("{}: {}", field.name, told(&field.ty)));
            format!("record {{ {} }}", joined(fields.collect()))
        }
        TypeDefKind::Variant(variant) => {
            let cases = variant.cases.iter().map(|case| match &case.ty {
                Some(kind) => format!("{}({})", case.name, told(kind)),
                None => case.name.clone(),
            });
            format!("variant {{ {} }}", joined(cases.collect()))
        }
        TypeDefKind::Enum(cases) => {
            format!("enum {{ {} }}", joined(cases.cases.iter().map(|case| case.name.clone()).collect()))
        }
        TypeDefKind::Flags(flags) => {
            format!("flags {{ {} }}", joined(flags.flags.iter().map(|flag| flag.name.clone()).collect()))
        }
        TypeDefKind::Tuple(tuple) => format!("tuple<{}>", joined(tuple.types.iter().map(told).collect())),
        TypeDefKind::Option(kind) => format!("option<{}>", told(kind)),
        TypeDefKind::List(kind) => format!("list<{}>", told(kind)),
        TypeDefKind::Result(result) => format!("result<{}, {}>", maybe(&result.ok), maybe(&result.err)),
        TypeDefKind::Type(kind) => told(kind),
        // The contract has no others: plain values only.
        other => other.as_str().to_owned(),
    }
}

mod tests {
    use super::*;

    const PUBLISHED: &str = "package test:contract@0.1.0;
        interface records {
            record row { id: u32, name: string }
            enum operation { read, write }
            search: func(model: string) -> result<list<row>, string>;
        }
        world automation { import records; export run: func(event: string) -> result<string, string>; }";

    fn package(text: &str) -> Package {
        let mut resolve = Resolve::default();
        let id = resolve.push_str("contract.wit", text).unwrap();
        Package::of(&resolve, id).unwrap()
    }

    /// What is said of the published package with a part of it replaced.
    fn refused(from: &str, to: &str) -> Option<String> {
        assert!(PUBLISHED.contains(from), "{from}");
        let new = package(&PUBLISHED.replace(from, to));
        judge(&package(PUBLISHED), &new).err().map(|error| error.to_string())
    }

    #[test]
    fn nothing_changed_is_fine_under_any_later_number() {
        assert_eq!(refused("0.1.0", "0.1.0"), None);
        assert_eq!(refused("0.1.0", "0.1.4"), None);
        assert!(refused("0.1.0", "0.0.9").unwrap().contains("is published"));
    }

    #[test]
    fn what_breaks_scripts_is_refused_by_name() {
        for (from, to, what) in [
            ("search: func(model: string) -> result<list<row>, string>;", "", "records.search is gone"),
            ("name: string }", "name: string, active: bool }", "records.row was"),
            ("id: u32, name: string }", "name: string, id: u32 }", "records.row was"),
            ("read, write }", "read, write, unlink }", "records.operation was"),
            ("func(model: string)", "func(model: string, limit: u32)", "records.search was"),
            ("func(model: string)", "func(of: string)", "records.search was"),
            ("list<row>, string>", "option<row>, string>", "records.search was"),
            ("import records;", "", "automation imports test:contract/records is gone"),
            ("event: string)", "event: list<u8>)", "automation exports run was"),
            ("export run", "export stop: func(); export run", "automation exports stop, which no script has"),
        ] {
            let said = refused(from, to).unwrap_or_else(|| panic!("{from} → {to} is not refused"));
            assert!(said.contains(what), "{said}");
        }
    }

    #[test]
    fn additions_say_with_which_version_they_came() {
        let with = |addition: &str| {
            let text =
                PUBLISHED.replace("0.1.0", "0.1.1").replace("enum operation", &format!("{addition} enum operation"));
            marked(&package(PUBLISHED), &package(&text)).map_err(|error| error.to_string())
        };
        assert!(with("type name = string;").unwrap_err().contains("records.name came with 0.1.1"));
        assert!(with("@since(version = 0.1.0) count: func() -> u32;").unwrap_err().contains("records.count"));
        assert_eq!(with("@since(version = 0.1.1) count: func() -> u32;"), Ok(()));
        assert_eq!(with(""), Ok(()));
    }

    #[test]
    fn additions_need_a_new_number_and_breaks_a_new_line() {
        let added = "search: func(model: string) -> result<list<row>, string>; count: func(model: string) -> u32;";
        let search = "search: func(model: string) -> result<list<row>, string>;";
        assert!(refused(search, added).unwrap().contains("records.count"));
        let with = |number: &str, part: &str| {
            let text = PUBLISHED.replace("0.1.0", number).replace(search, part);
            judge(&package(PUBLISHED), &package(&text)).is_ok()
        };
        assert!(with("0.1.1", added));
        assert!(!with("0.1.1", ""));
        assert!(with("0.2.0", ""));
    }
}
