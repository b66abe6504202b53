//! Rules as files: `rules apply` and `rules export`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use serde_json::json;
use triggerbox_automation::rule::{
    Rule,
    apply::{ApplyError, Planned, Refused, Step, apply as apply_all},
    file, stored,
};
use triggerbox_odoo::{
    Backend,
    setup::{Finding, State},
};
use triggerbox_store::db::Mode;

use super::OrOnlyLook;
use crate::{
    args::{ApplyArgs, Common},
    commands::{
        odoo,
        workshop::{FromError, Workshop},
    },
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, DIM, GREEN, RED, YELLOW, printable, styled},
    text_file,
};

pub(super) fn apply(args: &ApplyArgs) -> Result<Exit, Failure> {
    let rules = read(&args.path)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_exit(Exit::Backend)?;
    let odoo = args.odoo.as_deref().map(odoo::open).transpose()?;
    let workshop = Workshop::open_as(&args.common, Mode::Write, |database| match &odoo {
        Some(backend) => runtime.block_on(odoo::on_odoo(database, backend, &rules)),
        None => Ok(database),
    })?;
    let edit = workshop.edit(&args.note, args.ask);
    let applied = workshop.database.transaction(|conn| {
        match apply_all(workshop.ground(conn), &rules, &edit, args.prune) {
            // The error rolls the transaction back: nothing was asked for but the plan.
            Ok(steps) if args.dry_run => Err(OrOnlyLook::Look(steps)),
            Ok(steps) => Ok(steps),
            Err(error) => Err(OrOnlyLook::Error(error)),
        }
    });
    let steps = match applied {
        Ok(steps) | Err(OrOnlyLook::Look(steps)) => steps,
        Err(OrOnlyLook::Error(ApplyError::Refused(refused))) => return refuse(&refused, &args.common),
        Err(OrOnlyLook::Error(ApplyError::Rule(error))) => return Err(Failure::from_error(error)),
    };
    let mended = match &odoo {
        Some(backend) => runtime.block_on(in_odoo(&workshop, backend, args.dry_run))?,
        None => Vec::new(),
    };
    if args.common.format.json {
        let mut told = json!({ "applied": !args.dry_run, "steps": steps });
        if let (Some(_), Some(told)) = (&odoo, told.as_object_mut()) {
            told.insert("odoo".to_owned(), json!(mended));
        }
        output::json(&told)?;
    } else {
        print(&steps, args.dry_run);
        for finding in &mended {
            let detail = if finding.detail.is_empty() { String::new() } else { format!(" ({})", finding.detail) };
            let words = format!("{}{detail}", finding.what);
            anstream::println!(
                "{} {}",
                styled(YELLOW, if args.dry_run { "differs" } else { "odoo" }),
                printable(&words)
            );
        }
    }
    Ok(Exit::Ok)
}

/// Makes Odoo's automation rules as the rules here want them, or only compares; what differed.
async fn in_odoo(workshop: &Workshop, backend: &Backend, only_look: bool) -> Result<Vec<Finding>, Failure> {
    let watches = odoo::watches(&workshop.database)?;
    let found = match only_look {
        true => backend.rules_status(&watches).await,
        false => backend.rules_apply(&watches).await,
    };
    let found = found.map_err(odoo::failed)?;
    Ok(found.into_iter().filter(|finding| finding.state != State::Ok).collect())
}

fn refuse(refused: &[Refused], common: &Common) -> Result<Exit, Failure> {
    if common.format.json {
        output::json(&json!({ "applied": false, "refused": refused }))?;
        return Ok(Exit::Usage);
    }
    for one in refused {
        anstream::eprintln!("{}", styled(BOLD, printable(&one.rule)));
        for finding in &one.findings {
            anstream::eprintln!("  {}", printable(&finding.to_string()));
        }
    }
    Err(anyhow!("nothing was applied").into())
}

fn print(steps: &[Step], dry_run: bool) {
    for step in steps {
        let word = match step.change {
            Planned::Create => styled(GREEN, "create"),
            Planned::Update => styled(YELLOW, "update"),
            Planned::Keep => styled(DIM, "keep"),
            Planned::Propose => styled(YELLOW, "propose"),
            Planned::Delete => styled(RED, "delete"),
        };
        anstream::println!("{word} {}", styled(BOLD, &step.rule));
        if step.change != Planned::Create {
            for difference in &step.differences {
                anstream::println!("  {}", printable(&difference.to_string()));
            }
        }
        for warning in &step.warnings {
            anstream::println!("  {}", printable(&warning.to_string()));
        }
    }
    if dry_run {
        anstream::println!("nothing was applied: this is what would change");
    }
}

/// The rules of a file or a folder, by file name. What does not parse is said for all files at once.
fn read(path: &Path) -> Result<Vec<Rule>, Failure> {
    let (mut rules, mut wrong) = (Vec::new(), Vec::new());
    for file in files(path)? {
        let text = text_file::read(&file)?;
        match file::parse(&text) {
            Ok(rule) => rules.push(rule),
            Err(error) => wrong.push(format!("{}: {error}", file.display())),
        }
    }
    match wrong.is_empty() {
        true => Ok(rules),
        false => Err(anyhow!("{}", wrong.join("\n")).into()),
    }
}

pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.with_context(|| format!("cannot read {}", path.display()))?.path();
        if file.extension().is_some_and(|kind| kind == "toml") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

pub(super) fn export(folder: &Path, prune: bool, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    let rules = stored::all(&conn).map_err(Failure::from_error)?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut written = BTreeSet::new();
    for stored in &rules {
        let path = folder.join(format!("{}.toml", stored.rule.name));
        fs::write(&path, file::write(&stored.rule)?).with_context(|| format!("cannot write {}", path.display()))?;
        written.insert(path);
    }
    let stale: Vec<_> = files(folder)?.into_iter().filter(|path| !written.contains(path)).collect();
    for path in stale.iter().filter(|_| prune) {
        fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    if common.format.json {
        output::json(&json!({ "written": written, "stale": stale, "pruned": prune }))?;
        return Ok(Exit::Ok);
    }
    anstream::println!("{} rules written to {}", written.len(), folder.display());
    for path in stale {
        let word = if prune { "removed" } else { "has no rule any more:" };
        anstream::println!("  {word} {}", path.display());
    }
    Ok(Exit::Ok)
}
