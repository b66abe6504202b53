//! `triggerbox dev`: build, test, push, again and again.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, anyhow, bail};
use reqwest::{Client, Method, RequestBuilder, redirect::Policy};
use serde_json::{Value as Json, json};
use triggerbox_workbench::scenario::FOLDER;

use crate::{
    args::DevArgs,
    commands::{build, test, watch::Watch},
    exit::{Exit, Failure},
    output::{self, BOLD, DIM, styled},
};

/// Where the token is.
const TOKEN: &str = "TRIGGERBOX_TOKEN";
/// A server compiles what is pushed before it answers.
const LONGEST: Duration = Duration::from_secs(300);

pub(crate) fn run(args: &DevArgs) -> Result<Exit, Failure> {
    if args.once {
        return round(args);
    }
    let watch = Watch::new(&args.path)?;
    loop {
        if let Err(Failure { error, .. }) = round(args) {
            output::failed(&error);
        }
        anstream::println!("{}", styled(DIM, "waiting for changes"));
        watch.wait()?;
    }
}

fn round(args: &DevArgs) -> Result<Exit, Failure> {
    let built = build::build(&args.path, None)?;
    anstream::println!("{} {}", styled(BOLD, "built"), built.path.display());
    let all = test::try_all(&built.path, &args.path.join(FOLDER), None, &test::On::Memory { bless: false })?;
    anstream::print!("{}", test::text(&all));
    let exit = test::exit(&all.tests);
    if let Some(server) = args.server.as_ref().filter(|_| exit == Exit::Ok) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let hash = runtime.block_on(push(server, &all.script, &built.path, args.activate))?;
        let short: String = hash.chars().take(12).collect();
        let word = if args.activate { "pushed and activated" } else { "pushed" };
        anstream::println!("{} {} {short}", styled(BOLD, word), all.script);
    }
    Ok(exit)
}

/// Uploads a component; its hash.
async fn push(server: &str, script: &str, component: &Path, activate: bool) -> anyhow::Result<String> {
    let token =
        std::env::var(TOKEN).with_context(|| format!("{TOKEN} is not set; `triggerbox token create` makes one"))?;
    let component = fs::read(component).with_context(|| format!("cannot read {}", component.display()))?;
    // Fails when it is there already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A token never follows a redirect.
    let client = Client::builder().no_proxy().redirect(Policy::none()).timeout(LONGEST).build()?;
    let server = server.trim_end_matches('/');
    let to = |path: &str| client.request(Method::POST, format!("{server}/api/v1/{path}")).bearer_auth(&token);
    let stored = ask(to("scripts").header("content-type", "application/wasm").body(component)).await?;
    let hash = stored.pointer("/script/hash").and_then(Json::as_str);
    let hash = hash.ok_or_else(|| anyhow!("{server} answered without the script's hash"))?.to_owned();
    if activate {
        let body = json!({ "hash": hash }).to_string();
        let activate = to(&format!("scripts/{script}/activate")).header("content-type", "application/json");
        ask(activate.body(body)).await?;
    }
    Ok(hash)
}

async fn ask(request: RequestBuilder) -> anyhow::Result<Json> {
    let answer = request.send().await.context("the server cannot be reached")?;
    let status = answer.status();
    let body: Json = serde_json::from_slice(&answer.bytes().await?).unwrap_or_default();
    if !status.is_success() {
        let why = body.get("detail").or_else(|| body.get("title")).and_then(Json::as_str).unwrap_or_default();
        bail!("the server answered {status}: {why}");
    }
    Ok(body)
}
