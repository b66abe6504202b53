//! `triggerbox serve`: the engine over HTTP, until it is told to stop.

use std::{io::Write as _, path::Path, sync::Arc};

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;
use triggerbox_automation::{
    Engine, SystemClock,
    config::{Bounded, Compile},
};
use triggerbox_server::{
    App, Config,
    config::{Log, LogFormat},
    people::audit::{self, Deed},
    serve,
    tokens::{self, NewToken, Scope},
    told,
};
use triggerbox_store::db::{DbError, Mode};

use crate::{
    args::{LlmMode, OutsideArgs, ServeArgs},
    commands::{
        database,
        odoo::{at_home, on_odoo},
        outside::{self, Elsewhere},
        script,
        workshop::deed,
    },
    exit::{Exit, Failure, OrExit},
    text_file,
};

/// The demo company's administrator.
const ADMINISTRATOR: u32 = 2;

pub(crate) fn run(args: &ServeArgs) -> Result<Exit, Failure> {
    let mut config = args.config.as_deref().map(configured).transpose()?.unwrap_or_default();
    if let Some(listen) = args.listen {
        config.listen = listen;
    }
    if args.odoo.is_some() {
        config.odoo.clone_from(&args.odoo);
    }
    let (asked, elsewhere) = asked(&args.outside, &config);
    config.providers.clone_from(&asked.providers);
    log(&config.log)?;
    let mut database = database::open(&args.database, Mode::Write)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().or_exit(Exit::Backend)?;
    let odoo = config.odoo.as_deref().map(super::odoo::open).transpose()?;
    if let Some(backend) = &odoo {
        database = runtime.block_on(on_odoo(database, backend, &[]))?;
    }
    at_home(&database, odoo.as_deref())?;
    // Room for runs that work, for runs that wait, and for what does not go through the queue: rules before writes, dry runs.
    let live = config.runs.workers.saturating_mul(2).saturating_add(config.runs.waiting);
    let sandbox = script::sandbox(u32::try_from(live).unwrap_or(u32::MAX))?;
    let compile = Compile::Bounded(Arc::new(Bounded { compiler: script::compiler()?, cache: script::cache() }));
    let services = outside::services(&asked, elsewhere)?;
    let settings = triggerbox_automation::Config { compile, outside: services.clone(), odoo, ..config.engine() };
    let engine = Engine::open(database, sandbox.clone(), settings, Arc::new(SystemClock)).or_exit(Exit::Backend)?;
    let address = config.listen;
    let app = App::new(engine, sandbox, config)?;
    if args.database.file.is_none() {
        let token = runtime.block_on(demo_token(&app)).or_exit(Exit::Backend)?;
        errln!("the demo CRM, in memory; a token of its administrator:\n{token}");
    }
    runtime
        .block_on(async {
            let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
            let local = listener.local_addr()?;
            if !local.ip().is_loopback() {
                tracing::warn!(%local, "listening beyond this machine: put a proxy with TLS in front");
            }
            // The signals are heard from before the first request on.
            let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            outln!("listening on http://{local}");
            let at = app.config().web.url.clone().unwrap_or_else(|| format!("http://{local}"));
            first_link(&app, &at).await?;
            let stop = async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            serve(app, listener, stop).await.map_err(|error| anyhow!(error))
        })
        .or_exit(Exit::Backend)?;
    outside::saved(services.as_deref())?;
    Ok(Exit::Ok)
}

/// A server's configuration.
pub(super) fn configured(path: &Path) -> anyhow::Result<Config> {
    let text = text_file::read(path)?;
    let parsed = Config::parse(&text).with_context(|| path.display().to_string())?;
    Ok(Config { file: Some(path.to_owned()), ..parsed })
}

/// Whom a server with this configuration asks, with what is said besides.
pub(super) fn asked(args: &OutsideArgs, config: &Config) -> (OutsideArgs, Elsewhere) {
    let asked = OutsideArgs {
        providers: args.providers.clone().or_else(|| config.providers.clone()),
        // Without a providers file there may be some that are set while the server runs.
        llm: args.llm.or_else(|| args.recording.is_none().then_some(LlmMode::Live)),
        ..args.clone()
    };
    // Other services are reached where a rule grants it, whether there are models or not.
    let elsewhere = if asked.providers.is_some() { Elsewhere::Always } else { Elsewhere::Possibly };
    (asked, elsewhere)
}

/// To stderr: stdout says where the server listens.
fn log(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.level).with_context(|| format!("log.level: `{}`", log.level))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => lines.try_init(),
    };
    started.map_err(|error| anyhow!("the log cannot be started: {error}"))
}

/// As long as nobody can sign in, a link by which the administrator can.
async fn first_link(app: &App, at: &str) -> anyhow::Result<()> {
    let link = app.first_link().await.map_err(|problem| anyhow!(problem.details().detail.clone()))?;
    if let Some(key) = link {
        let at = at.trim_end_matches('/');
        // Whoever started the server may read no further than where it listens.
        let _ = writeln!(
            std::io::stdout(),
            "nobody can sign in yet; open this once, within a day, and set the administrator's password:\n\
             {at}/welcome?key={key}"
        );
    }
    Ok(())
}

async fn demo_token(app: &App) -> anyhow::Result<String> {
    let new = NewToken { name: "demo".to_owned(), user: ADMINISTRATOR, scopes: Scope::ALL.into(), expires: None };
    let now = Timestamp::now();
    let made = app.engine().committer().commit(move |conn| {
        let made = tokens::create(conn, &new, now)?;
        let deed = Deed { detail: told::token(&made.0), ..deed(ADMINISTRATOR, "token-made", "demo") };
        audit::write(conn, &deed, now)?;
        Ok::<_, DbError>(made)
    });
    Ok(made.await?.1)
}
