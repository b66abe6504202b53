//! Calls and values from JSON (journals, recordings) never panic, and come out as they went in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use triggerbox_model::{call::Call, value::Value};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
        let text = serde_json::to_string(&value).expect("a value is JSON");
        let again: Value = serde_json::from_str(&text).expect("and JSON is a value");
        assert_eq!(serde_json::to_string(&again).expect("still JSON"), text);
    }
    if let Ok(call) = serde_json::from_slice::<Call>(bytes) {
        let text = serde_json::to_string(&call).expect("a call is JSON");
        let again: Call = serde_json::from_str(&text).expect("and JSON is a call");
        assert_eq!(serde_json::to_string(&again).expect("still JSON"), text);
        let _ = triggerbox_model::limits::Meter::new(triggerbox_model::limits::Limits::resolve(
            triggerbox_model::limits::Class::Async,
            [],
        ))
        .before(&call);
    }
});
