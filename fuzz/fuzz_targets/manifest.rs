//! A manifest's text never panics the parser, and the parameters of one that parses can be read from text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use triggerbox_model::manifest::Manifest;

fuzz_target!(|text: &str| {
    if let Ok(manifest) = Manifest::parse(text) {
        for parameter in &manifest.parameters {
            let _ = parameter.parse(text);
            parameter.default_value().expect("a manifest that parses has defaults that fit");
        }
    }
});
