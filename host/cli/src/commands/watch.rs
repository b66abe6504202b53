//! Tells that files of a folder changed, once they are quiet again.

use std::{
    path::{Component, Path, PathBuf},
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
    /// As events name it.
    folder: PathBuf,
    events: Receiver<notify::Result<Event>>,
}

impl Watch {
    /// Begins to watch.
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.canonicalize().with_context(|| format!("cannot watch {}", folder.display()))?;
        let (sender, events) = channel();
        let mut watcher = notify::recommended_watcher(sender).context("this system cannot watch files")?;
        watcher
            .watch(&folder, RecursiveMode::Recursive)
            .with_context(|| format!("cannot watch {}", folder.display()))?;
        Ok(Self { _watcher: watcher, folder, events })
    }

    /// Waits for a change of a source file. Changes since the last wait count.
    pub(crate) fn wait(&self) -> anyhow::Result<()> {
        loop {
            let event = self.events.recv().context("files are watched no more")?;
            if is_change(&event.context("files cannot be watched")?, &self.folder) {
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

fn is_change(event: &Event, folder: &Path) -> bool {
    let changed = matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_));
    changed && event.paths.iter().any(|path| is_source(path.strip_prefix(folder).unwrap_or(path)))
}

/// Whether a file is one that people write. The folder that is watched may itself be called as it likes.
fn is_source(path: &Path) -> bool {
    let built = |part: Component<'_>| BUILT.iter().any(|name| part.as_os_str() == *name);
    !path.components().any(built) && path.extension().is_none_or(|extension| extension != "wasm" && extension != "new")
}

#[cfg(test)]
mod tests {
    use notify::event::CreateKind;

    use super::*;

    #[test]
    fn what_builds_write_is_no_change() {
        for folder in ["/s", "/home/ada/target/s", "/builds/node_modules/.git"] {
            let folder = Path::new(folder);
            let is_change = |name: &str| {
                is_change(&Event::new(EventKind::Create(CreateKind::File)).add_path(folder.join(name)), folder)
            };
            for source in ["src/lib.rs", "triggerbox.toml", "scenarios/a.toml", "script.py"] {
                assert!(is_change(source), "{}: {source}", folder.display());
            }
            for built in ["target/x/lib.rs", "s.wasm", ".triggerbox/build/x.py", "Cargo.lock"] {
                assert!(!is_change(built), "{}: {built}", folder.display());
            }
        }
    }

    #[test]
    fn a_folder_is_watched_as_events_name_it() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("target").join("script");
        std::fs::create_dir_all(&folder).expect("a folder");
        let watch = Watch::new(&folder.join("..").join("script")).expect("it can be watched");
        assert_eq!(watch.folder, folder.canonicalize().expect("it is there"));
    }
}
