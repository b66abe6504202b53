//! `triggerbox build`: compiles a script's folder, and puts its manifest into the component.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

use anyhow::Context;
use serde_json::json;
use triggerbox_model::manifest::Manifest;
use triggerbox_sandbox::inspect;
use triggerbox_toolchain::{Project, Workshop};

use crate::{
    args::BuildArgs,
    exit::{Exit, Failure},
    output::{self, BOLD, styled},
    text_file,
};

/// The manifest's file name.
const MANIFEST: &str = "triggerbox.toml";

/// A component that was built.
pub(crate) struct Built {
    /// Its file.
    pub(crate) path: PathBuf,
    bytes: usize,
    manifest: Manifest,
}

pub(crate) fn run(args: &BuildArgs) -> Result<Exit, Failure> {
    let Built { path, bytes, manifest } = build(&args.path, args.output.as_deref())?;
    if args.format.json {
        output::json(&json!({ "component": path, "bytes": bytes, "manifest": manifest }))?;
    } else {
        let (name, version) = (&manifest.script.name, &manifest.script.version);
        outln!("{} {name} {version}: {} ({} KiB)", styled(BOLD, "built"), path.display(), bytes / 1024);
    }
    Ok(Exit::Ok)
}

/// Builds a script's folder.
pub(crate) fn build(folder: &Path, output: Option<&Path>) -> Result<Built, Failure> {
    let path = folder.join(MANIFEST);
    let text = text_file::read(&path)
        .context("no script to build: its folder holds `triggerbox.toml`, and `triggerbox new` makes one")?;
    let manifest = Manifest::parse(&text).with_context(|| path.display().to_string())?;

    let project = Project::open(folder).map_err(anyhow::Error::from)?;
    let compiled = triggerbox_toolchain::build(&project, &Workshop::of(&project)).map_err(anyhow::Error::from)?;
    let component = inspect::embed_manifest(&compiled, &text).context("cannot put the manifest into the component")?;

    let output = output.map_or_else(|| folder.join(format!("{}.wasm", manifest.script.name)), Path::to_path_buf);
    write(&component, &output).with_context(|| format!("cannot write {}", output.display()))?;
    Ok(Built { path: output, bytes: component.len(), manifest })
}

/// Writes a component whole or not at all: whoever reads it meanwhile has the one before, which also stays on a full disk.
fn write(component: &[u8], to: &Path) -> io::Result<()> {
    // Where a link leads, or nowhere yet.
    let to = to.canonicalize().unwrap_or_else(|_| to.to_owned());
    if to.exists() && !to.is_file() {
        return fs::write(to, component);
    }
    let partial = to.with_extension(format!("wasm.{}.new", process::id()));
    let written = fs::write(&partial, component).and_then(|()| fs::rename(&partial, &to));
    if written.is_err() {
        // What cannot be removed was not made, or is in nobody's way.
        let _ = fs::remove_file(&partial);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_written_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let names = || {
            let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            names
        };
        let file = folder.path().join("s.wasm");
        write(b"first", &file).unwrap();
        std::os::unix::fs::symlink(&file, folder.path().join("linked")).unwrap();
        write(b"second", &folder.path().join("linked")).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"second");
        assert_eq!(names(), ["linked", "s.wasm"]);

        fs::create_dir(folder.path().join("folder.wasm")).unwrap();
        for nowhere in ["folder.wasm", "missing/s.wasm", "s.wasm/s.wasm"] {
            write(b"third", &folder.path().join(nowhere)).unwrap_err();
        }
        assert_eq!(names(), ["folder.wasm", "linked", "s.wasm"]);
    }
}
