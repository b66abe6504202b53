//! `triggerbox rules diagnose`: why a rule did not fire, or why it failed.

use std::sync::Arc;

use anyhow::anyhow;
use jiff::tz::TimeZone;
use triggerbox_automation::{
    EngineError,
    diagnose::{NOTHING, diagnose_known, question},
    remote::home,
    rule::{Rule, stored},
};
use triggerbox_model::call::{Answer, Call, Operation};
use triggerbox_odoo::{Backend, Session};
use triggerbox_store::db::Mode;

use crate::{
    args::{Common, There},
    commands::{
        odoo,
        workshop::{FromError, Workshop},
    },
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, DIM, printable, styled},
};

pub(super) fn run(name: &str, record: Option<u32>, there: &There, common: &Common) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let odoo = there.odoo.as_deref().map(odoo::open_for_runs).transpose()?;
    let workshop = Workshop::open_as(common, Mode::Read, |database| match &odoo {
        Some(backend) => runtime.block_on(odoo::on_odoo(database, backend, &[])),
        None => Ok(database),
    })?;
    let (rule, place) = {
        let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
        let rule = stored::get(&conn, name).map_err(Failure::from_error)?.rule;
        (rule, home::noted(&conn).or_exit(Exit::Backend)?)
    };
    let holds = match (record, &odoo, place) {
        (Some(record), Some(backend), _) => runtime.block_on(holds(&workshop, backend, &rule, record))?,
        (Some(_), None, Some(place)) => {
            return Err(anyhow!("the record is in {place}: name the file that describes it with --odoo FILE").into());
        }
        _ => None,
    };
    let now = workshop.now.to_zoned(TimeZone::UTC);
    let found = diagnose_known(&workshop.database, &workshop.policy, name, (record, holds), &now);
    let causes = found.map_err(|error| Failure {
        exit: if matches!(error, EngineError::Database(_)) { Exit::Backend } else { Exit::Usage },
        error: error.into(),
    })?;
    if common.format.json {
        output::json(&causes)?;
        return Ok(Exit::Ok);
    }
    for cause in &causes {
        outln!("{} {}", styled(BOLD, cause.code), printable(&cause.sentence));
        if cause.remedy != NOTHING {
            outln!("  {} {}", styled(DIM, "→"), printable(&cause.remedy));
        }
    }
    Ok(Exit::Ok)
}

/// Whether a record on the Odoo server matches the rule's domain, for whoever may read it; none: there is nothing to match.
async fn holds(workshop: &Workshop, backend: &Arc<Backend>, rule: &Rule, record: u32) -> Result<Option<bool>, Failure> {
    let Some(model) = rule.model.clone() else { return Ok(None) };
    let login = &workshop.person.user.login;
    let account = backend.account(login).await.map_err(odoo::failed)?;
    let mut session = Session::new(Arc::clone(backend), account, workshop.now);
    let may = Call::HasAccess { model, ids: vec![record], operation: Operation::Read };
    if session.call(may).await.map_err(odoo::failed)?? != Answer::Flag(true) {
        return Err(anyhow!("`{login}` may not read record {record} in odoo")).or_exit(Exit::Policy);
    }
    let Some(question) = question(rule, record)? else { return Ok(None) };
    match session.call(question).await.map_err(odoo::failed)?? {
        Answer::Ids(found) => Ok(Some(!found.is_empty())),
        _ => Ok(None),
    }
}
