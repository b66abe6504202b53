//! Tells that files of a folder changed, once they are quiet again.

use std::{
    path::{Component, Path},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use anyhow::Context;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Editors write a file in several steps: a change counts when nothing more happened for this long.
const QUIET: Duration = Duration::from_millis(200);

/// What builds leave behind in a script's folder.
const BUILT: [&str; 6] = ["target", ".triggerbox", ".git", "node_modules", "__pycache__", "Cargo.lock"];

/// Watches a folder until it is dropped.
pub(crate) struct Watch {
    _watcher: RecommendedWatcher,
    events: Receiver<notify::Result<Event>>,
}

impl Watch {
    /// Begins to watch.
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        let (sender, events) = channel();
        let mut watcher = notify::recommended_watcher(sender).context("this system cannot watch files")?;
        watcher
            .watch(folder, RecursiveMode::Recursive)
            .with_context(|| format!("cannot watch {}", folder.display()))?;
        Ok(Self { _watcher: watcher, events })
    }

    /// Waits for a change of a source file. Changes since the last wait count.
    pub(crate) fn wait(&self) -> anyhow::Result<()> {
        loop {
            let event = self.events.recv().context("files are watched no more")?;
            if is_change(&event.context("files cannot be watched")?) {
                break;
            }
        }
        loop {
            match self.events.recv_timeout(QUIET) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }
}

fn is_change(event: &Event) -> bool {
    let changed = matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_));
    changed && event.paths.iter().any(|path| is_source(path))
}

/// Whether a file is one that people write.
fn is_source(path: &Path) -> bool {
    let built = |part: Component<'_>| BUILT.iter().any(|name| part.as_os_str() == *name);
    !path.components().any(built) && path.extension().is_none_or(|extension| extension != "wasm" && extension != "new")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_builds_write_is_no_change() {
        for source in ["/s/src/lib.rs", "/s/triggerbox.toml", "/s/scenarios/a.toml", "/s/script.py"] {
            assert!(is_source(Path::new(source)), "{source}");
        }
        for built in ["/s/target/x/lib.rs", "/s/s.wasm", "/s/.triggerbox/build/x.py", "/s/Cargo.lock"] {
            assert!(!is_source(Path::new(built)), "{built}");
        }
    }
}
