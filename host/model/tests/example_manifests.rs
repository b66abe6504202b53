//! Every script in the repository has a manifest that the host accepts.

use std::{fs, path::Path};

use triggerbox_model::manifest::Manifest;

#[test]
fn the_manifests_of_all_examples_are_valid() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-examples/rust");
    let mut names = Vec::new();
    for entry in fs::read_dir(&examples).unwrap() {
        let folder = entry.unwrap().path();
        let Ok(text) = fs::read_to_string(folder.join("triggerbox.toml")) else { continue };
        let manifest = Manifest::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        assert_eq!(manifest.script.name, folder.file_name().unwrap().to_str().unwrap());
        // Each example runs as it is: the defaults of its parameters fit their types, and none is required. Ready-made
        // scripts do nothing but what their parameters say.
        if !manifest.parameters.iter().any(|parameter| parameter.required) {
            manifest.parameter_values(&[]).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        }
        names.push(manifest.script.name);
    }
    assert!(names.len() >= 9, "found only {names:?}");
}
