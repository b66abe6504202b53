//! Holds the contract to its own rules: it parses, C bindings generate (Rust ones made this crate), and it keeps to
//! types that are pleasant in every language. The copy of it that is vendored with this library is equal.

use std::{fs, path::Path};

use wit_bindgen_core::{
    Files,
    wit_parser::{Resolve, Type, TypeDefKind, WorldId},
};

const CONTRACT: &str = "../../../wit";

fn library() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn contract() -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(library().join(CONTRACT)).unwrap();
    let world = resolve.select_world(&[package], Some("automation")).unwrap();
    (resolve, world)
}

#[test]
fn the_contract_has_one_world_with_one_export() {
    let (resolve, world) = contract();
    let name = resolve.id_of_name(resolve.worlds[world].package.unwrap(), "x");
    assert!(name.starts_with("triggerbox:automation/x@"), "{name}");
    let exports: Vec<_> = resolve.worlds[world].exports.keys().map(|key| resolve.name_world_key(key)).collect();
    assert_eq!(exports, ["run"]);
}

#[test]
fn c_bindings_generate() {
    let (mut resolve, world) = contract();
    let mut files = Files::default();
    wit_bindgen_c::Opts::default().build().generate(&mut resolve, world, &mut files).unwrap();
    let names: Vec<_> = files.iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names, ["automation.c", "automation.h", "automation_component_type.o"]);
}

/// 64-bit integers are BigInt in JavaScript; resources, maps, streams, futures and fixed-length lists are missing or
/// half done in some language; a list of an alias of a number breaks one JavaScript toolchain.
#[test]
fn the_contract_uses_only_types_that_every_language_has() {
    let (resolve, _) = contract();
    let mut refused = Vec::new();
    for (_, definition) in &resolve.types {
        let name = definition.name.as_deref().unwrap_or("an unnamed type");
        let parts: Vec<Type> = match &definition.kind {
            TypeDefKind::Record(record) => record.fields.iter().map(|field| field.ty).collect(),
            TypeDefKind::Variant(variant) => variant.cases.iter().filter_map(|case| case.ty).collect(),
            TypeDefKind::Tuple(tuple) => tuple.types.clone(),
            TypeDefKind::Option(part) | TypeDefKind::Type(part) => vec![*part],
            TypeDefKind::List(part) => {
                if let Type::Id(id) = part
                    && let TypeDefKind::Type(alias) = &resolve.types[*id].kind
                    && !matches!(alias, Type::Id(_))
                {
                    refused.push(format!("{name}: a list of an alias of {alias:?}"));
                }
                vec![*part]
            }
            TypeDefKind::Result(result) => [result.ok, result.err].into_iter().flatten().collect(),
            TypeDefKind::Enum(_) | TypeDefKind::Flags(_) => Vec::new(),
            other => {
                refused.push(format!("{name}: {}", other.as_str()));
                continue;
            }
        };
        let is_long = |part: &&Type| matches!(part, Type::U64 | Type::S64);
        refused.extend(parts.iter().filter(is_long).map(|part| format!("{name}: {part:?}")));
    }
    for (_, interface) in &resolve.interfaces {
        for (name, function) in &interface.functions {
            let parts = function.params.iter().map(|parameter| parameter.ty).chain(function.result);
            let long = parts.filter(|part| matches!(part, Type::U64 | Type::S64));
            refused.extend(long.map(|part| format!("{name}: {part:?}")));
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn everything_in_the_contract_has_a_comment() {
    let (resolve, _) = contract();
    let mut bare = Vec::new();
    for (_, interface) in &resolve.interfaces {
        let name = interface.name.as_deref().unwrap_or_default();
        if interface.docs.contents.is_none() {
            bare.push(name.to_owned());
        }
        let functions = interface.functions.iter().filter(|(_, function)| function.docs.contents.is_none());
        bare.extend(functions.map(|(function, _)| format!("{name}.{function}")));
    }
    assert!(bare.is_empty(), "without a comment: {bare:?}");
}

#[test]
fn the_librarys_copy_of_the_contract_is_equal() {
    let folder = |path: &str| {
        let mut files: Vec<_> = fs::read_dir(library().join(path))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| (path.file_name().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
            .collect();
        files.sort();
        files
    };
    assert!(folder(CONTRACT) == folder("wit"), "copy it: cp wit/*.wit guest-examples/rust/sdk/wit/");
}
