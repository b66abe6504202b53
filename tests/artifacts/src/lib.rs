//! The repository's own scripts, compiled: one static for each package of `guest-examples/rust`, named like its
//! folder (`high-value-order` is [`HIGH_VALUE_ORDER`]). With the feature `adversarial` also those of `tests/guests`,
//! written in Rust or as text.

/// A compiled script.
#[derive(Debug)]
pub struct Guest {
    /// The package's folder.
    pub name: &'static str,
    /// The component, without its manifest.
    pub component: &'static [u8],
    /// The text of its `triggerbox.toml`, if it has one.
    pub manifest: Option<&'static str>,
}

include!(concat!(env!("OUT_DIR"), "/guests.rs"));
