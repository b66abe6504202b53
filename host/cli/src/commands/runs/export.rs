//! A run in a file.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde_json::json;
use triggerbox_automation::{EngineError, scripts::registry};
use triggerbox_sandbox::{ContentHash, inspect::manifest_of};
use triggerbox_workbench::recording::{Action, Exported, packed};

use super::Desk;
use crate::{
    args::Common,
    commands::workshop::FromError,
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, printable, styled},
};

pub(super) fn run(
    run: i64,
    out: Option<&Path>,
    plain: bool,
    with_scripts: bool,
    common: &Common,
) -> Result<Exit, Failure> {
    let out = out.map_or_else(|| PathBuf::from(format!("run-{run}.json")), Path::to_path_buf);
    if out.exists() {
        return Err(anyhow!("{} is there already; name another file with --out", out.display()).into());
    }
    let exported = exported(run, plain, with_scripts, common)?;
    exported.save(&out)?;
    if common.format.json {
        output::json(&json!({ "file": out, "redacted": exported.redacted, "decides": exported.decides }))?;
    } else {
        outln!("{} {}", styled(BOLD, "wrote"), out.display());
        if exported.redacted {
            outln!("redacted: {}", printable(&exported.decides.describe()));
        }
    }
    Ok(Exit::Ok)
}

/// A run in the form of a file: without what is personal, if it is not to be plain.
pub(crate) fn exported(run: i64, plain: bool, with_scripts: bool, common: &Common) -> Result<Exported, Failure> {
    let desk = Desk::look(common)?;
    let recordings = desk.engine.recordings(run).map_err(Failure::from_error)?;
    let rule = desk.engine.run(run).map_err(Failure::from_error)?.summary.rule;
    let conn = desk.engine.database().snapshot().or_exit(Exit::Backend)?;
    let (mut actions, mut scripts) = (Vec::new(), Vec::new());
    for recording in recordings {
        let component = recording.script.parse::<ContentHash>().ok().and_then(|hash| {
            // A version that is not kept any more leaves a recording that other versions can be run on.
            registry::component(&conn, hash).ok()
        });
        let name = component.as_deref().and_then(|bytes| manifest_of(bytes).ok());
        let script = match &component {
            Some(bytes) => desk.block_on(desk.engine.try_out(bytes)).ok(),
            None => None,
        };
        actions.push(Action {
            script: name.map(|manifest| manifest.script.name).unwrap_or_default(),
            component: component.as_deref().filter(|_| with_scripts).map(packed),
            recording,
        });
        scripts.push(script);
    }
    let mut exported = Exported::new(run, rule, actions);
    if !plain {
        let schema = desk.engine.database().schema().clone();
        let redacting = async { Ok::<_, EngineError>(exported.redact(&schema, &scripts).await) };
        desk.block_on(redacting)?.or_exit(Exit::Backend)?;
    }
    Ok(exported)
}
