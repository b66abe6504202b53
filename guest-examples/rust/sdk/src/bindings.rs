//! What wit-bindgen makes of `wit/`. Scripts use the types and functions that the crate re-exports.
#![allow(missing_docs, reason = "generated; the comments are those of the contract")]

wit_bindgen::generate!({
    world: "automation",
    path: "wit",
    additional_derives: [PartialEq],
    // Scripts depend on this crate alone: everything that the macro needs is reached through it.
    runtime_path: "::triggerbox::wit_bindgen::rt",
    default_bindings_module: "::triggerbox::bindings",
    pub_export_macro: true,
});
