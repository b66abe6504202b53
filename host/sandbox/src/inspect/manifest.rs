//! The manifest in a component: one custom section at the top level.

use triggerbox_model::manifest::{Manifest, ManifestError, SECTION};
use wasm_encoder::{ComponentSection, CustomSection};

use super::Finding;

/// Why a manifest cannot be put into a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// The file is no component; says what it is.
    #[error("{0}")]
    NotAComponent(String),
    /// The manifest is wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// The component with this manifest in it, in place of any that it had at its top level.
///
/// # Errors
/// [`EmbedError`]: the file is no component, or the manifest is wrong.
pub fn embed_manifest(component: &[u8], manifest: &str) -> Result<Vec<u8>, EmbedError> {
    Manifest::parse(manifest)?;
    if let Some(problem) = super::file_kind::problem(component) {
        return Err(EmbedError::NotAComponent(problem));
    }
    let cut_off = || EmbedError::NotAComponent("the component is cut off".to_owned());
    let (header, mut rest) = component.split_at_checked(8).ok_or_else(cut_off)?;
    let mut bytes = Vec::with_capacity(component.len() + manifest.len() + 64);
    bytes.extend_from_slice(header);
    while !rest.is_empty() {
        let (section, after) = split_section(rest).ok_or_else(cut_off)?;
        if !is_manifest(section) {
            bytes.extend_from_slice(section);
        }
        rest = after;
    }
    CustomSection { name: SECTION.into(), data: manifest.as_bytes().into() }.append_to_component(&mut bytes);
    Ok(bytes)
}

/// The manifest of a component, without looking at anything else in it.
///
/// # Errors
/// [`Finding`]: there is none, more than one, or it is wrong.
pub fn manifest_of(component: &[u8]) -> Result<Manifest, Finding> {
    let mut manifests = Vec::new();
    let mut rest = component.get(8..).unwrap_or_default();
    while let Some((section, after)) = split_section(rest) {
        if is_manifest(section) {
            manifests.extend(data(section));
        }
        rest = after;
    }
    read(&manifests, 0)
}

/// The first section with its header, and what follows it.
fn split_section(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, header) = leb128(bytes.get(1..)?)?;
    bytes.split_at_checked(1 + header + usize::try_from(size).ok()?)
}

/// Whether a section is a custom section with the manifest's name.
fn is_manifest(section: &[u8]) -> bool {
    custom(section).is_some_and(|(name, _)| name == SECTION.as_bytes())
}

/// A custom section's content.
fn data(section: &[u8]) -> Option<&[u8]> {
    custom(section).map(|(_, data)| data)
}

/// A custom section's name and content.
fn custom(section: &[u8]) -> Option<(&[u8], &[u8])> {
    let (0, body) = section.split_first()? else { return None };
    let (_, header) = leb128(body)?;
    let body = body.get(header..)?;
    let (len, header) = leb128(body)?;
    body.get(header..)?.split_at_checked(usize::try_from(len).ok()?)
}

/// An unsigned number of up to 32 bits, and how many bytes it takes.
fn leb128(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((u32::try_from(value).ok()?, index + 1));
        }
    }
    None
}

/// The one manifest of a component.
pub(super) fn read(sections: &[&[u8]], nested: usize) -> Result<Manifest, Finding> {
    let problem = |code, message: String| Err(Finding { code, message });
    let section = match (sections, nested) {
        ([section], 0) => section,
        ([], 0) => {
            return problem(
                "no-manifest",
                "the component has no manifest, so it may do nothing: build it with `triggerbox build`".to_owned(),
            );
        }
        (_, 0) => {
            return problem(
                "duplicate-manifest",
                format!("the component has {} manifests: build it with `triggerbox build`", sections.len()),
            );
        }
        _ => {
            return problem(
                "nested-manifest",
                "a component inside this component has a manifest of its own; only the outermost may have one"
                    .to_owned(),
            );
        }
    };
    let Ok(text) = std::str::from_utf8(section) else {
        return problem("invalid-manifest", "the manifest is not text in UTF-8".to_owned());
    };
    Manifest::parse(text).or_else(|error| problem("invalid-manifest", error.to_string()))
}
