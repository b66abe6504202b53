//! A domain's text never panics the parser, and what parses is printed so that it parses to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use triggerbox_model::domain::Domain;

fuzz_target!(|text: &str| {
    if let Ok(domain) = Domain::parse(text) {
        let printed = domain.to_string();
        assert_eq!(Domain::parse(&printed).as_ref(), Ok(&domain), "printed as {printed}");
    }
});
