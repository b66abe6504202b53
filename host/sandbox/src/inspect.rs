//! Looks into a file before anything is compiled: is it a script, what does it want, who made it.
//!
//! A pure function over bytes. Nothing in here trusts the file: sizes, counts and nesting are bounded, and no
//! function body is looked into.

mod compatibility;
mod contract;
mod file_kind;
mod imports;
mod manifest;
mod walk;

use serde::Serialize;
use triggerbox_model::manifest::Manifest;

pub use compatibility::{Compatibility, Fit, compatibility};
pub use contract::{VERSION, full_name};
pub use imports::{Import, ImportStatus};
pub use manifest::{EmbedError, embed_manifest, manifest_of};

use crate::hash::ContentHash;

/// Largest component that is accepted, in bytes.
pub const MAX_BYTES: usize = 64 << 20;

/// What is known about a file.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// It can be uploaded and run: there are no problems.
    pub ok: bool,
    /// Its size in bytes.
    pub size: u64,
    /// The identity of this version.
    pub hash: ContentHash,
    /// What keeps it from being a script. Empty for a good one.
    pub problems: Vec<Finding>,
    /// What will not work at run time, or is worth knowing.
    pub warnings: Vec<Finding>,
    /// What it imports, and whether this host has it.
    pub imports: Vec<Import>,
    /// What it exports.
    pub exports: Vec<String>,
    /// What made it, as far as it says so.
    pub toolchain: Vec<Tool>,
    /// It has debug information: backtraces will show lines.
    pub debug_info: bool,
    /// It has function names: backtraces will show them.
    pub names: bool,
    /// What it says about itself: name, grants, limits, parameters.
    pub manifest: Option<Manifest>,
}

/// Something to know about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable: `not-a-component`, `missing-import`…
    pub code: &'static str,
    /// What, on what, what to do.
    pub message: String,
}

/// A tool that says it had a part in making a component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Tool {
    /// `language`, `processed-by` or `sdk`.
    pub role: String,
    /// `Rust`, `wit-component`…
    pub name: String,
    /// `1.95.0 (59807616e 2026-04-14)`
    pub version: String,
}

/// Looks into a file. Never fails and never panics: what is wrong is in [`Inspection::problems`].
#[must_use]
pub fn inspect(bytes: &[u8]) -> Inspection {
    let mut inspection = Inspection {
        ok: false,
        size: bytes.len() as u64,
        hash: ContentHash([0; 32]),
        problems: Vec::new(),
        warnings: Vec::new(),
        imports: Vec::new(),
        exports: Vec::new(),
        toolchain: Vec::new(),
        debug_info: false,
        names: false,
        manifest: None,
    };
    if let Some(problem) = file_kind::problem(bytes) {
        inspection.problem("not-a-component", problem);
        return inspection;
    }
    inspection.hash = ContentHash::of(bytes);
    match walk::walk(bytes, contract::CONTRACT) {
        Ok((walk, world)) => inspection.judge(walk, &world),
        Err(finding) => inspection.problems.push(finding),
    }
    inspection.ok = inspection.problems.is_empty();
    inspection
}

impl Inspection {
    /// The first problem that keeps the component from running. A missing or bad manifest does not: such a script
    /// runs, but may do nothing.
    #[must_use]
    pub fn refusal(&self) -> Option<&Finding> {
        self.problems.iter().find(|problem| !problem.code.ends_with("-manifest"))
    }

    fn problem(&mut self, code: &'static str, message: impl Into<String>) {
        self.problems.push(Finding { code, message: message.into() });
    }

    /// Turns what was found into what it means.
    fn judge(&mut self, walk: walk::Walk<'_>, world: &contract::World) {
        self.toolchain = walk.toolchain.into_iter().collect();
        self.debug_info = walk.debug_info;
        self.names = walk.names;
        self.exports = walk.exports.iter().map(|name| (*name).to_owned()).collect();
        if let Err(finding) = contract::check_run(walk.types.as_ref(), world) {
            self.problems.push(finding);
        }
        for name in &walk.imports {
            let import = imports::judge(name, walk.types.as_ref(), world);
            if import.status == ImportStatus::Missing {
                self.problem("missing-import", import.note.clone().unwrap_or_default());
            }
            self.imports.push(import);
        }
        let denied: Vec<_> = self.imports.iter().filter(|import| import.status == ImportStatus::Denied).collect();
        if !denied.is_empty() {
            let names = denied.iter().map(|import| import.name.as_str()).collect::<Vec<_>>().join(", ");
            self.warnings.push(Finding {
                code: "denied-import",
                message: format!("files and network are not there at run time; calls to these fail: {names}"),
            });
        }
        match manifest::read(&walk.manifests, walk.nested_manifests) {
            Ok(manifest) => self.manifest = Some(manifest),
            Err(finding) => self.problems.push(finding),
        }
    }
}
