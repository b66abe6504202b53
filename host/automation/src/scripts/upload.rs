//! A file that becomes a version of a script. It is looked into before anything is stored; whoever takes uploads compiles
//! it too, within bounds, before storing it.

use triggerbox_model::manifest::Manifest;
use triggerbox_sandbox::{
    ContentHash,
    inspect::{self, Finding, ImportStatus},
};

/// A component that can be stored as a version.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Its identity.
    pub hash: ContentHash,
    /// What it says about itself.
    pub manifest: Manifest,
    /// Interfaces of the contract that it imports, `llm`, `http`.
    pub imports: Vec<String>,
    /// What will not work at run time, or is worth knowing.
    pub warnings: Vec<String>,
    /// The bytes.
    pub component: Vec<u8>,
}

/// Why a file is no script: what looking into it found, all at once. Its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(|finding| finding.message.as_str()).collect::<Vec<_>>().join("; "))]
pub struct UploadError(pub Vec<Finding>);

impl UploadError {
    /// Stable name of the first problem.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.first().map_or("not-a-script", |finding| finding.code)
    }
}

/// Looks into a component, without compiling it.
///
/// # Errors
/// [`UploadError`]
pub fn inspect(component: Vec<u8>) -> Result<Upload, UploadError> {
    let inspection = inspect::inspect(&component);
    let Some(manifest) = inspection.manifest.filter(|_| inspection.ok) else {
        return Err(UploadError(inspection.problems));
    };
    let offered = inspection.imports.iter().filter(|import| import.status == ImportStatus::Offered);
    Ok(Upload {
        hash: inspection.hash,
        manifest,
        imports: offered.filter_map(|import| interface(&import.name)).collect(),
        warnings: inspection.warnings.into_iter().map(|warning| warning.message).collect(),
        component,
    })
}

/// `triggerbox:automation/llm@0.1.0` → `llm`
fn interface(import: &str) -> Option<String> {
    let rest = import.strip_prefix("triggerbox:automation/")?;
    Some(rest.split(['@', '#']).next().unwrap_or(rest).to_owned())
}
