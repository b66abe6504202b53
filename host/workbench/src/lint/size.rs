//! How large a script is, and what its start costs.

use std::time::Duration;

use triggerbox_sandbox::inspect::{Inspection, VERSION};

use super::{Finding, Start, found};

/// Of the languages that `triggerbox build` knows, only CPython's components are larger: 18.5 MB, of which they are told, too.
const LARGE: u64 = 8 << 20;
/// Scripts of compiled languages start in 0.1 ms, QuickJS in 0.3, CPython in 2.
const SLOW: Duration = Duration::from_millis(20);
/// Half of the default limit.
const MUCH_MEMORY: u64 = 32 << 20;

pub(super) fn judge(inspection: &Inspection, start: Option<&Start>, findings: &mut Vec<Finding>) {
    let mib = |bytes: u64| format!("{}.{} MiB", bytes >> 20, (bytes % (1 << 20)) * 10 / (1 << 20));
    if inspection.size > LARGE {
        findings.push(found("large-component", format!("the component has {}", mib(inspection.size)), None));
    }
    if let Some(start) = start {
        let took = start.durations.instantiate;
        if took > SLOW {
            findings.push(found("slow-start", format!("making an instance took {} ms", took.as_millis()), None));
        }
        if start.memory > MUCH_MEMORY {
            findings.push(found("large-memory", format!("an instance takes {}", mib(start.memory)), None));
        }
    }
    if !inspection.debug_info {
        let names = if inspection.names { "functions, but no lines" } else { "neither functions nor lines" };
        findings.push(found("no-backtraces", format!("backtraces have {names}"), None));
    }
    let other = inspection.imports.iter().filter_map(|import| import.name.strip_prefix("triggerbox:automation/"));
    let other = other.filter_map(|name| name.split_once('@')).find(|(_, version)| *version != VERSION);
    if let Some((_, version)) = other {
        let message = format!("it is built for the contract's version {version}; this host's is {VERSION}");
        findings.push(found("world-version", message, None));
    }
}
