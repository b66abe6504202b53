//! `triggerbox build`: compiles a script's folder, and puts its manifest into the component.

use std::fs;

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

pub(crate) fn run(args: &BuildArgs) -> Result<Exit, Failure> {
    let path = args.path.join(MANIFEST);
    let text = text_file::read(&path)
        .context("no script to build: its folder holds `triggerbox.toml`, and `triggerbox new` makes one")?;
    let manifest = Manifest::parse(&text).with_context(|| path.display().to_string())?;

    let project = Project::open(&args.path).map_err(anyhow::Error::from)?;
    let compiled = triggerbox_toolchain::build(&project, &Workshop::of(&project)).map_err(anyhow::Error::from)?;
    let component = inspect::embed_manifest(&compiled, &text).context("cannot put the manifest into the component")?;

    let output = args.output.clone().unwrap_or_else(|| args.path.join(format!("{}.wasm", manifest.script.name)));
    fs::write(&output, &component).with_context(|| format!("cannot write {}", output.display()))?;
    if args.format.json {
        output::json(&json!({ "component": output, "bytes": component.len(), "manifest": manifest }))?;
    } else {
        let (name, version) = (&manifest.script.name, &manifest.script.version);
        let kib = component.len() / 1024;
        anstream::println!("{} {name} {version}: {} ({kib} KiB)", styled(BOLD, "built"), output.display());
    }
    Ok(Exit::Ok)
}
