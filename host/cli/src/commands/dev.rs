//! `triggerbox dev`: build, test, push, again and again.

use std::{fs, path::Path};

use anyhow::{Context, anyhow};
use reqwest::Method;
use serde_json::{Value as Json, json};
use triggerbox_workbench::scenario::FOLDER;

use crate::{
    args::DevArgs,
    commands::{
        build,
        server::{Server, ask, with_json},
        test,
        watch::Watch,
    },
    exit::{Exit, Failure},
    output::{self, BOLD, DIM, styled},
};

pub(crate) fn run(args: &DevArgs) -> Result<Exit, Failure> {
    if args.once {
        return round(args);
    }
    let watch = Watch::new(&args.path)?;
    loop {
        if let Err(Failure { error, .. }) = round(args) {
            output::failed(&error);
        }
        outln!("{}", styled(DIM, "waiting for changes"));
        watch.wait()?;
    }
}

fn round(args: &DevArgs) -> Result<Exit, Failure> {
    let built = build::build(&args.path, None)?;
    outln!("{} {}", styled(BOLD, "built"), built.path.display());
    let all = test::try_all(&built.path, &args.path.join(FOLDER), None, &test::On::Memory { bless: false })?;
    out!("{}", test::text(&all));
    let exit = test::exit(&all.tests);
    if let Some(server) = args.server.as_ref().filter(|_| exit == Exit::Ok) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let hash = runtime.block_on(push(server, &all.script, &built.path, args.activate))?;
        let short: String = hash.chars().take(12).collect();
        let word = if args.activate { "pushed and activated" } else { "pushed" };
        outln!("{} {} {short}", styled(BOLD, word), all.script);
    }
    Ok(exit)
}

/// Uploads a component; its hash.
async fn push(server: &str, script: &str, component: &Path, activate: bool) -> Result<String, Failure> {
    let to = Server::at(server)?;
    let component = fs::read(component).with_context(|| format!("cannot read {}", component.display()))?;
    let upload = to.to(Method::POST, "scripts", &[])?.header("content-type", "application/wasm").body(component);
    let stored = ask(upload).await?;
    let hash = stored.pointer("/script/hash").and_then(Json::as_str);
    let hash = hash.ok_or_else(|| anyhow!("{server} answered without the script's hash"))?.to_owned();
    if activate {
        let activate = to.to(Method::POST, &format!("scripts/{script}/activate"), &[])?;
        ask(with_json(activate, &json!({ "hash": hash }))).await?;
    }
    Ok(hash)
}
