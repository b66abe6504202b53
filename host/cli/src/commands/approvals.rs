//! `triggerbox approvals`: changes that wait for somebody's yes.

use anyhow::anyhow;
use serde_json::json;
use triggerbox_automation::proposals::{Proposal, ProposalHash, ProposalState};
use triggerbox_server::told;

use super::{runs::Desk, workshop::FromError};
use crate::{
    args::{ApprovalsCommand, Common, There},
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, DIM, printable, styled},
};

/// Most proposals of a list.
const MOST: usize = 500;

pub(crate) fn run(command: &ApprovalsCommand) -> Result<Exit, Failure> {
    match command {
        ApprovalsCommand::List { state, there, common } => list(state, there, common),
        ApprovalsCommand::Show { run, there, common } => show(*run, there, common),
        ApprovalsCommand::Approve { run, hash, note, there, common } => {
            let desk = Desk::on(common, there)?;
            let hash: ProposalHash = hash.parse()?;
            let proposal = proposal(&desk, *run)?;
            may_see(&desk, &proposal)?;
            let (run_name, detail) = (run.to_string(), told::decision(&proposal.rule, Some(hash), note));
            let approved = desk.engine.approve(*run, hash, desk.user, note);
            let changed = desk.change(("change-approved", &run_name), detail, approved)?;
            done(common, *run, "approved", &changed.runs)
        }
        ApprovalsCommand::Reject { run, note, there, common } => {
            let desk = Desk::on(common, there)?;
            let proposal = proposal(&desk, *run)?;
            may_see(&desk, &proposal)?;
            let (run_name, detail) = (run.to_string(), told::decision(&proposal.rule, None, note));
            desk.change(("change-rejected", &run_name), detail, desk.engine.reject(*run, desk.user, note))?;
            done(common, *run, "rejected", &[])
        }
    }
}

fn list(state: &str, there: &There, common: &Common) -> Result<Exit, Failure> {
    let desk = Desk::look_on(common, there)?;
    let state = ProposalState::ALL.into_iter().find(|one| one.name() == state).ok_or_else(|| {
        let all = ProposalState::ALL.map(ProposalState::name).join(", ");
        anyhow!("there is no state `{state}`; there are {all}")
    })?;
    let (mut found, mut before): (Vec<Proposal>, _) = (Vec::new(), None);
    // What is for others takes no room: a page that looked far enough leads to the next one.
    loop {
        let room = MOST - found.len();
        let (more, next) = desk.block_on(desk.engine.proposals_for((desk.user, false), Some(state), before, room))?;
        found.extend(more);
        before = next.filter(|_| found.len() < MOST);
        if before.is_none() {
            break;
        }
    }
    if common.format.json {
        output::json(&found)?;
        return Ok(Exit::Ok);
    }
    if found.is_empty() {
        outln!("no changes are {}", state.name());
    }
    for proposal in &found {
        let records = output::count(proposal.diff.records.len(), "record");
        outln!(
            "run {} {} of {} on {records}: {}",
            styled(BOLD, proposal.run),
            proposal.state.name(),
            proposal.rule,
            printable(&proposal.why)
        );
    }
    Ok(Exit::Ok)
}

fn show(run: i64, there: &There, common: &Common) -> Result<Exit, Failure> {
    let desk = Desk::look_on(common, there)?;
    let proposal = proposal(&desk, run)?;
    may_see(&desk, &proposal)?;
    if common.format.json {
        output::json(&proposal)?;
        return Ok(Exit::Ok);
    }
    outln!("run {} of {} {}: {}", styled(BOLD, run), proposal.rule, proposal.state.name(), printable(&proposal.why));
    outln!("{}", printable(proposal.diff.to_string().trim_end()));
    outln!("{}", styled(DIM, format!("hash {}", proposal.hash)));
    Ok(Exit::Ok)
}

fn proposal(desk: &Desk, run: i64) -> Result<Proposal, Failure> {
    let found = desk.engine.proposal(run).map_err(Failure::from_error)?;
    Ok(found.ok_or_else(|| anyhow!("run {run} proposes nothing; `triggerbox approvals list` lists what waits"))?)
}

/// Whoever decides about a change may read what it changes.
fn may_see(desk: &Desk, proposal: &Proposal) -> Result<(), Failure> {
    let readable = desk.block_on(desk.engine.readable_of(desk.user, std::slice::from_ref(proposal)))?;
    if readable.all_of(proposal) {
        return Ok(());
    }
    let (user, run) = (desk.user, proposal.run);
    Err(anyhow!("user {user} may not read all of the records that run {run} wants to change")).or_exit(Exit::Policy)
}

fn done(common: &Common, run: i64, what: &str, runs: &[i64]) -> Result<Exit, Failure> {
    if common.format.json {
        output::json(&json!({ "run": run, "done": what, "runs": runs }))?;
    } else {
        outln!("run {} is {what}", styled(BOLD, run));
    }
    Ok(Exit::Ok)
}
