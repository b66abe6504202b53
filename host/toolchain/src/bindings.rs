//! What is generated from the contract: C bindings, and components from core modules.

pub(crate) mod zig;

use std::{fs, path::Path};

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER,
};
use wit_bindgen_core::{
    Files, WorldGenerator,
    wit_parser::{Resolve, WorldId},
};
use wit_component_of_bindgen::{ComponentEncoder, StringEncoding, embed_component_metadata};

use crate::{Error, error::Doing};

/// The world that scripts are written against.
pub const WORLD: &str = "automation";

/// Writes C bindings: `automation.h`, `automation.c`, and an object file that carries the world's types.
///
/// # Errors
/// [`Error::Contract`] for a contract that does not parse, [`Error::Files`].
pub fn c(contract: &str, into: &Path) -> Result<(), Error> {
    generated(contract, &mut *wit_bindgen_c::Opts::default().build(), into)
}

/// Writes Go bindings: a package for each interface, and `wit_exports.go`.
///
/// # Errors
/// As [`c`].
pub fn go(contract: &str, into: &Path) -> Result<(), Error> {
    generated(contract, &mut *wit_bindgen_go::Opts::default().build(), into)
}

fn generated(contract: &str, generator: &mut dyn WorldGenerator, into: &Path) -> Result<(), Error> {
    let (mut resolve, world) = parsed(contract)?;
    let mut files = Files::default();
    generator.generate(&mut resolve, world, &mut files).map_err(broken)?;
    for (name, contents) in files.iter() {
        let file = into.join(name);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).doing("make", folder)?;
        }
        fs::write(&file, contents).doing("write", file)?;
    }
    Ok(())
}

fn parsed(contract: &str) -> Result<(Resolve, WorldId), Error> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("automation.wit", contract).map_err(broken)?;
    let world = resolve.select_world(&[package], Some(WORLD)).map_err(broken)?;
    Ok((resolve, world))
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::Contract { what: "cannot generate bindings from the contract", why: format!("{error:#}") }
}

/// A component from a core module that does not carry the world's types.
///
/// # Errors
/// [`Error::Contract`].
pub fn component_of(contract: &str, mut module: Vec<u8>) -> Result<Vec<u8>, Error> {
    let (resolve, world) = parsed(contract)?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).map_err(broken)?;
    component(&module)
}

/// A component from a core module that was linked with the bindings.
///
/// # Errors
/// [`Error::Contract`].
pub fn component(module: &[u8]) -> Result<Vec<u8>, Error> {
    let mut encoder = ComponentEncoder::default();
    encoder
        .validate(true)
        .module(module)
        // What C libraries ask of the system is WASI's older form.
        .and_then(|encoder| encoder.adapter(ADAPTER_NAME, ADAPTER))
        .and_then(|encoder| encoder.encode())
        .map_err(|error| Error::Contract { what: "cannot make a component of the module", why: format!("{error:#}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CONTRACT;

    #[test]
    fn the_contract_gives_c_bindings() {
        let folder = tempfile::tempdir().unwrap();
        c(CONTRACT, folder.path()).unwrap();
        let header = fs::read_to_string(folder.path().join("automation.h")).unwrap();
        assert!(header.contains("exports_automation_run"), "{header}");
        assert!(folder.path().join("automation_component_type.o").exists());
    }

    #[test]
    fn a_broken_contract_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = c("package a:b; world automation { import", folder.path()).unwrap_err();
        assert!(error.to_string().starts_with("cannot generate bindings from the contract"), "{error}");
    }
}
