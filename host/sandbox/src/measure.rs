//! What a run used of limits that the engine only enforces: stack, instances, handles.

use wasmparser::{ComponentAlias, ComponentExternalKind, ComponentInstance, Instance, Parser, Payload};
use wasmtime::component::ResourceTable;

use crate::engine::FIBER_STACK;

/// How deep a run's stack has been. The engine keeps no mark, so the depth is taken where the host has its say anyway:
/// at host calls and when memory grows.
#[derive(Debug, Default)]
pub(crate) struct StackDepth {
    top: usize,
    deepest: usize,
}

impl StackDepth {
    /// Notes where the stack begins. To be called on the run's own stack, just before the script is: also where it is called
    /// from within a host call, which is deeper.
    pub(crate) fn begin(&mut self) {
        self.top = self.top.max(here());
    }

    /// Notes how deep the stack is now.
    pub(crate) fn look(&mut self) {
        let depth = self.top.saturating_sub(here());
        // Parts of instantiation run on the thread's own stack, which is somewhere else.
        if depth < FIBER_STACK {
            self.deepest = self.deepest.max(depth);
        }
    }

    /// The deepest so far, in bytes; the host's own frames are in it.
    pub(crate) fn deepest(&self) -> u64 {
        self.deepest as u64
    }
}

/// An address on the current stack.
#[inline(always)]
fn here() -> usize {
    let mark = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&mark)).addr()
}

/// The most entries that a table had at once. Freed places are used again before new ones are made: once they are
/// filled, the next place tells how many there ever were.
pub(crate) fn most_handles(mut table: ResourceTable) -> u64 {
    table.set_max_capacity(0);
    while table.push(()).is_ok() {}
    table.set_max_capacity(usize::MAX);
    table.push(()).map_or(0, |next| u64::from(next.rep()))
}

/// How many core instances a component is made of, nested components included. `None` if it does not parse.
pub(crate) fn core_instances(component: &[u8]) -> Option<u64> {
    let mut open: Vec<Option<Parts>> = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.ok()?;
        if let Payload::Version { encoding, .. } = payload {
            open.push((encoding == wasmparser::Encoding::Component).then(Parts::default));
        } else if let Payload::End(_) = payload {
            let Some(done) = open.pop()? else { continue };
            match open.last_mut() {
                Some(outer) => outer.as_mut()?.components.push(done.instances),
                None => return Some(done.instances),
            }
        } else {
            look(&mut open, payload)?;
        }
    }
    None
}

/// What is counted of one component.
#[derive(Default)]
struct Parts {
    instances: u64,
    /// What instantiating each component in its index space would add.
    components: Vec<u64>,
}

fn look(open: &mut [Option<Parts>], payload: Payload<'_>) -> Option<()> {
    let depth = open.len();
    match payload {
        Payload::InstanceSection(section) => {
            for instance in section {
                if let Instance::Instantiate { .. } = instance.ok()? {
                    let parts = open.last_mut()?.as_mut()?;
                    parts.instances = parts.instances.saturating_add(1);
                }
            }
        }
        Payload::ComponentInstanceSection(section) => {
            for instance in section {
                if let ComponentInstance::Instantiate { component_index, .. } = instance.ok()? {
                    let parts = open.last_mut()?.as_mut()?;
                    let added = parts.components.get(component_index as usize).copied()?;
                    parts.instances = parts.instances.saturating_add(added);
                }
            }
        }
        Payload::ComponentAliasSection(section) => {
            for alias in section {
                let added = match alias.ok()? {
                    ComponentAlias::Outer { kind: wasmparser::ComponentOuterAliasKind::Component, count, index } => {
                        let outer = depth.checked_sub(1 + count as usize)?;
                        open.get(outer)?.as_ref()?.components.get(index as usize).copied()?
                    }
                    // What an instance exports is not followed: no tool exports components from components.
                    ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => 0,
                    _ => continue,
                };
                open.last_mut()?.as_mut()?.components.push(added);
            }
        }
        Payload::ComponentImportSection(section) => {
            for import in section {
                if let wasmparser::ComponentTypeRef::Component(_) = import.ok()?.ty {
                    open.last_mut()?.as_mut()?.components.push(0);
                }
            }
        }
        Payload::ComponentExportSection(section) => {
            for export in section {
                let export = export.ok()?;
                if export.kind == ComponentExternalKind::Component {
                    let parts = open.last_mut()?.as_mut()?;
                    let again = parts.components.get(export.index as usize).copied()?;
                    parts.components.push(again);
                }
            }
        }
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_counted_at_their_most() {
        let mut table = ResourceTable::new();
        assert_eq!(most_handles(ResourceTable::new()), 0);
        let open: Vec<_> = (0..5).map(|n| table.push(n).unwrap()).collect();
        for handle in open {
            table.delete(handle).unwrap();
        }
        table.push(0).unwrap();
        assert_eq!(most_handles(table), 5);
    }

    #[test]
    fn instances_of_nested_components_count_each_time() {
        let nested = wat::parse_str(
            "(component
               (core module $m)
               (component $inner (core module $n) (core instance (instantiate $n)) (core instance (instantiate $n)))
               (core instance (instantiate $m))
               (instance (instantiate $inner))
               (instance (instantiate $inner))
               (component $outer
                 (alias outer 1 $inner (component $again))
                 (instance (instantiate $again))))",
        )
        .unwrap();
        assert_eq!(core_instances(&nested), Some(5));
        assert_eq!(core_instances(b"\0asm\x01\0\0\0"), None);
        assert_eq!(core_instances(b"nonsense"), None);
    }
}
