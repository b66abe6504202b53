//! Tells that files of folders changed, once they are quiet again.

use std::{
    ffi::OsStr,
    path::{Component, Path, PathBuf},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use anyhow::Context;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Editors write a file in several steps: a change counts when nothing more happened for this long.
const QUIET: Duration = Duration::from_millis(200);

/// What builds leave behind in a script's folder.
const BUILT: [&str; 6] = ["target", ".triggerbox", ".git", "node_modules", "__pycache__", "Cargo.lock"];

/// Ends of names of what programs write there: components, files that are not whole yet, and databases. A server that is pushed to
/// writes into its database each time.
const MADE: [&str; 6] = ["wasm", "new", "db", "db-wal", "db-shm", "db-journal"];

/// Watches folders until it is dropped.
pub(crate) struct Watch {
    watcher: RecommendedWatcher,
    /// As events name them.
    folders: Vec<PathBuf>,
    /// A component that others build.
    component: Option<PathBuf>,
    events: Receiver<notify::Result<Event>>,
}

impl Watch {
    /// Begins to watch.
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        let (sender, events) = channel();
        let watcher = notify::recommended_watcher(sender).context("this system cannot watch files")?;
        Self { watcher, folders: Vec::new(), component: None, events }.and(folder)
    }

    /// Watches another folder, too.
    pub(crate) fn and(mut self, folder: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("cannot watch {}", folder.display());
        let folder = folder.canonicalize().with_context(cannot)?;
        self.watcher.watch(&folder, RecursiveMode::Recursive).with_context(cannot)?;
        self.folders.push(folder);
        Ok(self)
    }

    /// A component in the first folder counts as a source, for it is not built here.
    pub(crate) fn with_component(mut self, name: &OsStr) -> Self {
        self.component = self.folders.first().map(|folder| folder.join(name));
        self
    }

    /// Waits for a change of a source file. Changes since the last wait count.
    pub(crate) fn wait(&self) -> anyhow::Result<()> {
        loop {
            let event = self.events.recv().context("files are watched no more")?;
            if self.is_change(&event.context("files cannot be watched")?) {
                break;
            }
        }
        // Whatever else happens there, such as another build, is not waited for.
        let mut quiet = Instant::now() + QUIET;
        while let Ok(event) = self.events.recv_timeout(quiet.saturating_duration_since(Instant::now())) {
            if event.is_ok_and(|event| self.is_change(&event)) {
                quiet = Instant::now() + QUIET;
            }
        }
        Ok(())
    }

    fn is_change(&self, event: &Event) -> bool {
        let changed = matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_));
        changed && event.paths.iter().any(|path| self.component.as_ref() == Some(path) || self.is_source(path))
    }

    /// Whether a file is one that people write. The folders that are watched may themselves be called as they like.
    fn is_source(&self, path: &Path) -> bool {
        let within = self.folders.iter().find_map(|folder| path.strip_prefix(folder).ok());
        is_written(within.unwrap_or(path))
    }
}

fn is_written(path: &Path) -> bool {
    let built = |part: Component<'_>| BUILT.iter().any(|name| part.as_os_str() == *name);
    let made = |extension: &OsStr| MADE.iter().any(|made| extension == *made);
    !path.components().any(built) && !path.extension().is_some_and(made)
}

#[cfg(test)]
mod tests {
    use notify::event::CreateKind;

    use super::*;

    #[test]
    fn what_builds_write_is_no_change() {
        for folder in ["s", "home/ada/target/s", "builds/node_modules/.git"] {
            let home = tempfile::tempdir().expect("a folder");
            let folder = &home.path().canonicalize().expect("it is there").join(folder);
            std::fs::create_dir_all(folder).expect("a folder");
            let watch = Watch::new(folder).expect("it can be watched");
            let is_change = |name: &str| {
                watch.is_change(&Event::new(EventKind::Create(CreateKind::File)).add_path(folder.join(name)))
            };
            for source in ["src/lib.rs", "triggerbox.toml", "scenarios/a.toml", "script.py"] {
                assert!(is_change(source), "{}: {source}", folder.display());
            }
            for built in ["target/x/lib.rs", "s.wasm", ".triggerbox/build/x.py", "Cargo.lock", "crm.db", "crm.db-wal"] {
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
        assert_eq!(watch.folders, [folder.canonicalize().expect("it is there")]);
    }

    #[test]
    fn a_component_and_scenarios_of_elsewhere_count_where_they_are_named() {
        let home = tempfile::tempdir().expect("a folder");
        let [folder, scenarios] = ["script", "target"].map(|name| home.path().join(name));
        for folder in [&folder, &scenarios] {
            std::fs::create_dir_all(folder).expect("a folder");
        }
        let watch = Watch::new(&folder).expect("it can be watched");
        let watch = watch.and(&scenarios).expect("it can be watched").with_component(OsStr::new("s.wasm"));
        let is_change =
            |path: PathBuf| watch.is_change(&Event::new(EventKind::Create(CreateKind::File)).add_path(path));
        let [folder, scenarios] = [folder, scenarios].map(|folder| folder.canonicalize().expect("it is there"));
        assert!(is_change(folder.join("s.wasm")) && is_change(scenarios.join("a.toml")));
        assert!(!is_change(folder.join("other.wasm")) && !is_change(folder.join("target/s.wasm")));

        std::fs::write(folder.join("s.wasm"), "built by somebody else").expect("a file");
        watch.wait().expect("it is told");
        std::fs::write(scenarios.join("a.toml"), "").expect("a file");
        watch.wait().expect("it is told");
    }
}
