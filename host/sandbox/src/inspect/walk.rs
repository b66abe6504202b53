//! One pass over a component's sections, validated but for function bodies.

use std::collections::BTreeSet;

use triggerbox_model::manifest::SECTION;
use wasmparser::{
    BinaryReaderError, KnownCustom, Parser, Payload, ValidPayload, Validator, WasmFeatures, types::Types,
};

use super::{Finding, Tool, contract::World};

/// Sections in all, function bodies not counted. Python components have about 1,000.
const MAX_SECTIONS: usize = 100_000;
/// Components within components. Tools that compose nest four or five deep.
const MAX_DEPTH: usize = 32;
/// Imports and exports of the component itself.
const MAX_NAMES: usize = 10_000;
/// Tools that are listed.
const MAX_TOOLS: usize = 64;

/// What a component is made of.
pub(super) struct Walk<'a> {
    pub(super) types: Types,
    pub(super) imports: Vec<&'a str>,
    pub(super) exports: Vec<&'a str>,
    pub(super) manifests: Vec<&'a [u8]>,
    pub(super) nested_manifests: usize,
    pub(super) toolchain: BTreeSet<Tool>,
    pub(super) debug_info: bool,
    pub(super) names: bool,
}

/// Walks over all sections, with a version of the contract to compare with.
pub(super) fn walk<'a>(bytes: &'a [u8], contract: &[u8]) -> Result<(Walk<'a>, World), Finding> {
    let mut validator = Validator::new_with_features(features());
    let mut walk = Walk {
        types: empty_types(&mut validator)?,
        imports: Vec::new(),
        exports: Vec::new(),
        manifests: Vec::new(),
        nested_manifests: 0,
        toolchain: BTreeSet::new(),
        debug_info: false,
        names: false,
    };
    let (mut depth, mut sections) = (0_usize, 0_usize);
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| broken(&error, bytes.len()))?;
        if !matches!(payload, Payload::CodeSectionEntry(_)) {
            sections += 1;
        }
        if sections > MAX_SECTIONS {
            return Err(too_much(format!("more than {MAX_SECTIONS} sections")));
        }
        walk.look(&payload, depth).map_err(|error| broken(&error, bytes.len()))?;
        if walk.imports.len() + walk.exports.len() > MAX_NAMES {
            return Err(too_much(format!("more than {MAX_NAMES} imports and exports")));
        }
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(too_much(format!("components nested more than {MAX_DEPTH} deep")));
        }
        // Function bodies are left to the compiler, which runs in bounds of its own.
        if let ValidPayload::End(types) = validator.payload(&payload).map_err(|error| broken(&error, bytes.len()))? {
            walk.types = types;
        }
    }
    // Last: most of what is no component is known without it, and it takes longer than most of what is looked into.
    validator.reset();
    let Some(world) = World::parse(&mut validator, contract) else {
        return Err(too_much("nothing to be compared with".to_owned()));
    };
    Ok((walk, world))
}

impl<'a> Walk<'a> {
    fn look(&mut self, payload: &Payload<'a>, depth: usize) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section.clone() {
                    self.imports.push(import?.name.name);
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section.clone() {
                    self.exports.push(export?.name.name);
                }
            }
            Payload::CustomSection(section) => {
                match section.name() {
                    SECTION if depth == 0 => self.manifests.push(section.data()),
                    SECTION => self.nested_manifests += 1,
                    ".debug_info" => self.debug_info |= !section.data().is_empty(),
                    "name" => self.names |= depth > 0,
                    _ => {}
                }
                if let KnownCustom::Producers(fields) = section.as_known() {
                    // A broken producers section says nothing; it harms nobody.
                    let _ = self.producers(fields);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn producers(&mut self, fields: wasmparser::ProducersSectionReader<'_>) -> Result<(), BinaryReaderError> {
        for field in fields {
            let field = field?;
            for value in field.values {
                let value = value?;
                if self.toolchain.len() >= MAX_TOOLS {
                    return Ok(());
                }
                let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(100).collect::<String>();
                self.toolchain.insert(Tool {
                    role: short(field.name),
                    name: short(value.name),
                    version: short(value.version),
                });
            }
        }
        Ok(())
    }
}

/// What the engine has on, and the rest of what is standard: the engine names better what it lacks.
fn features() -> WasmFeatures {
    WasmFeatures::default() | WasmFeatures::COMPONENT_MODEL
}

/// Types of a component without any: what holds until the last section is read.
fn empty_types(validator: &mut Validator) -> Result<Types, Finding> {
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";
    let types = validator.validate_all(EMPTY).map_err(|error| broken(&error, EMPTY.len()));
    validator.reset();
    types
}

fn broken(error: &BinaryReaderError, len: usize) -> Finding {
    let message = error.message();
    if message.contains("unexpected end") || error.offset() >= len as u64 {
        Finding {
            code: "truncated",
            message: format!("the component is cut off: it ends in the middle of something after {len} bytes"),
        }
    } else {
        Finding {
            code: "invalid-component",
            message: format!("the component is broken at byte {}: {message}", error.offset()),
        }
    }
}

fn too_much(what: String) -> Finding {
    Finding { code: "too-complex", message: format!("the component has {what}; no tool makes such a script") }
}
