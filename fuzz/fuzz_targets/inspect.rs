//! No bytes, and no component with such bytes inside, make inspection panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use triggerbox_sandbox::inspect::inspect;

fuzz_target!(|bytes: &[u8]| {
    let _ = inspect(bytes);
    // The header of a component, so that the sections behind it are reached from the start.
    let component = [b"\0asm\x0d\0\x01\0", bytes].concat();
    let _ = inspect(&component);
});
