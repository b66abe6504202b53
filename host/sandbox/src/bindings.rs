//! What `wit/` says, as Rust: generated.
#![allow(missing_docs, unreachable_pub, reason = "generated; the contract's own file documents each item")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "automation",
    imports: {
        "triggerbox:automation/calendar": trappable,
        "triggerbox:automation/budget": trappable,
        "triggerbox:automation/log": trappable,
        default: async | trappable,
    },
    exports: { default: async },
});
