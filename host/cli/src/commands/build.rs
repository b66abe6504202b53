//! `triggerbox build`: compiles a script's folder, and puts its manifest into the component.

use std::{
    fs,
    path::{Path, PathBuf},
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
        anstream::println!("{} {name} {version}: {} ({} KiB)", styled(BOLD, "built"), path.display(), bytes / 1024);
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
    fs::write(&output, &component).with_context(|| format!("cannot write {}", output.display()))?;
    Ok(Built { path: output, bytes: component.len(), manifest })
}
