//! Components of the other languages: built on first use, kept by content under `target/guests`.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, OnceLock},
};

use guest_artifacts::Guest;
use triggerbox_toolchain::{Project, Workshop, cache::build_cached};

/// What a component of all example scripts holds, as far as the language has it.
const EXAMPLES: &[&str] =
    &["contract-check", "high-value-order", "lead-scoring", "contact-upsert", "data-quality", "order-stock-check"];

/// What was made once for all tests of this process; each is made apart from the others.
struct Made<T: 'static>(LazyLock<Mutex<HashMap<String, &'static OnceLock<T>>>>);

impl<T: Copy> Made<T> {
    fn get(&self, key: &str, make: impl FnOnce() -> T) -> T {
        let cell = *self.0.lock().unwrap().entry(key.to_owned()).or_insert_with(|| Box::leak(Box::default()));
        *cell.get_or_init(make)
    }
}

/// A script of its own, as `triggerbox build` makes it.
pub(crate) fn single(language: &str, name: &str) -> &'static Guest {
    static GUESTS: Made<&'static Guest> = Made(LazyLock::new(Mutex::default));
    let folder = examples(language).join(name);
    GUESTS.get(&format!("{language}/{name}"), || guest(name, &folder, component(&folder, None)))
}

/// One of the example scripts, out of a component that holds all of them: building one is much quicker than building
/// each.
pub(crate) fn bundled(language: &str, name: &str) -> &'static Guest {
    static BUNDLES: Made<&'static [u8]> = Made(LazyLock::new(Mutex::default));
    let bytes = BUNDLES.get(language, || bundle(language));
    guest(name, &examples(language).join(name), bytes)
}

/// The languages that have a script of this name, in order.
pub(crate) fn with(name: &str) -> Vec<String> {
    let folders = fs::read_dir(root().join("guest-examples")).unwrap().map(|entry| entry.unwrap());
    let mut languages: Vec<_> = folders
        .filter(|folder| folder.path().join(name).is_dir())
        .map(|folder| folder.file_name().into_string().unwrap())
        .collect();
    languages.sort();
    languages
}

/// A script that breaks, out of the same component.
pub(crate) fn bundled_crash(language: &str) -> &'static Guest {
    let bundle = bundled(language, "high-value-order");
    Box::leak(Box::new(Guest { name: "crash", ..*bundle }))
}

/// A script that breaks, on its own.
pub(crate) fn crash(language: &str) -> &'static Guest {
    let component = component(&crashes().join(language), Some(library(language)));
    guest("crash", &examples(language).join("contract-check"), component)
}

/// The library that scripts of a language are built with.
fn library(language: &str) -> PathBuf {
    let own = match language {
        "cpp" => "c",
        "javascript" => "typescript",
        own => own,
    };
    examples(own).join("sdk")
}

fn crashes() -> PathBuf {
    root().join("tests/e2e/support/crash")
}

fn guest(name: &str, folder: &Path, component: &'static [u8]) -> &'static Guest {
    let manifest = fs::read_to_string(folder.join("triggerbox.toml")).unwrap();
    let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
    Box::leak(Box::new(Guest { name, component, manifest: Some(Box::leak(manifest.into_boxed_str())) }))
}

/// A script that hands each event to the example that the rule is named like.
fn bundle(language: &str) -> &'static [u8] {
    let entry = match language {
        "python" => ("script.py", include_str!("bundle.py")),
        "typescript" => ("script.ts", include_str!("bundle.ts")),
        "javascript" => ("script.js", include_str!("bundle.js")),
        "go" => ("script.go", include_str!("bundle.go")),
        "zig" => ("script.zig", include_str!("bundle.zig")),
        other => panic!("no bundle for {other}"),
    };
    let folder = target().join("bundles").join(language);
    for name in EXAMPLES.iter().filter(|name| examples(language).join(name).is_dir()) {
        copy(&examples(language).join(name), &folder.join(name));
    }
    copy(&crashes().join(language), &folder.join("crash"));
    fs::write(folder.join(entry.0), entry.1).unwrap();
    component(&folder, Some(library(language)))
}

fn component(folder: &Path, library: Option<PathBuf>) -> &'static [u8] {
    let mut project = Project::open(folder).unwrap();
    if let Some(library) = library {
        project = project.with_library(library.canonicalize().unwrap());
    }
    let tools = Workshop::shared_tools().unwrap_or_else(|| root().join("target/tools"));
    let scratch = target().join("scratch").join(format!("{}-{}", project.language, std::process::id()));
    let workshop = Workshop::new(tools, scratch.join(folder.file_name().unwrap()));
    let component = build_cached(&project, &workshop, &target()).unwrap_or_else(|error| panic!("{error}"));
    Box::leak(component.into_boxed_slice())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

pub(crate) fn examples(language: &str) -> PathBuf {
    root().join("guest-examples").join(language)
}

fn target() -> PathBuf {
    root().join("target/guests")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}
