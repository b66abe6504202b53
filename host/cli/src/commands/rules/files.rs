//! Rules as files: `rules apply` and `rules export`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use triggerbox_automation::rule::{
    Rule,
    apply::{self, ApplyError, Planned, Step},
    diff::Difference,
    file,
    stored::{self, Edit},
};
use triggerbox_odoo::{
    Backend,
    setup::{Finding, State},
};
use triggerbox_server::{problem::FoundWrong, told};
use triggerbox_store::db::{Database, DbError, Mode};

use crate::{
    args::{ApplyArgs, Common, DatabaseArgs},
    commands::{
        odoo,
        server::{Server, ask_or_hear, with_json},
        workshop::{FromError, Workshop},
    },
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, DIM, GREEN, RED, YELLOW, printable, styled},
    text_file,
};

/// What became of one rule, here or on a server.
#[derive(Deserialize)]
struct Applied {
    rule: String,
    change: Planned,
    differences: Vec<Difference>,
    warnings: Vec<FoundWrong>,
    #[serde(default)]
    agreed: Vec<String>,
}

impl From<&Step> for Applied {
    fn from(step: &Step) -> Self {
        let warnings = step.warnings.iter().map(FoundWrong::from).collect();
        let (differences, agreed) = (step.differences.clone(), step.agreed.clone());
        Self { rule: step.rule.clone(), change: step.change, differences, warnings, agreed }
    }
}

/// What is wrong with one rule, here or on a server.
#[derive(Serialize)]
struct Refused {
    rule: String,
    findings: Vec<FoundWrong>,
}

impl From<apply::Refused> for Refused {
    fn from(refused: apply::Refused) -> Self {
        Self { rule: refused.rule, findings: refused.findings.iter().map(FoundWrong::from).collect() }
    }
}

impl Refused {
    /// What a server says is wrong, rule by rule; nothing, if it says no for another reason.
    fn by_server(problem: &Json) -> Vec<Self> {
        let findings = problem.get("findings").cloned().unwrap_or_default();
        let findings: Vec<FoundWrong> = serde_json::from_value(findings).unwrap_or_default();
        let mut all: Vec<Self> = Vec::new();
        for mut finding in findings {
            let Some(rule) = finding.rule.take() else { continue };
            match all.last_mut() {
                Some(last) if last.rule == rule => last.findings.push(finding),
                _ => all.push(Self { rule, findings: vec![finding] }),
            }
        }
        all
    }
}

/// What the files themselves have wrong, with what the check of the rules found.
fn together(mut refused: Vec<Refused>, checked: Vec<Refused>) -> Vec<Refused> {
    for one in checked {
        match refused.iter_mut().find(|known| known.rule == one.rule) {
            Some(known) => known.findings.extend(one.findings),
            None => refused.push(one),
        }
    }
    refused
}

/// A database's copy, for as long as this is there.
struct Copied {
    common: Common,
    _folder: TempDir,
}

impl Copied {
    fn of(common: &Common) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let to = folder.path().join("copy.db");
        if let Some(from) = &common.database.file {
            Database::backup_of(from, &to).or_exit(Exit::Backend)?;
        }
        Ok(Self { common: Common { database: DatabaseArgs { file: Some(to) }, ..common.clone() }, _folder: folder })
    }
}

fn is_locked(failure: &Failure) -> bool {
    matches!(failure.error.downcast_ref(), Some(DbError::Locked { .. }))
}

pub(super) fn apply(args: &ApplyArgs) -> Result<Exit, Failure> {
    let (rules, unknown) = read(&args.path)?;
    if args.prune && rules.is_empty() {
        // A mistyped folder, far more likely than nobody wanting rules any more.
        let folder = args.path.display();
        return Err(
            anyhow!("{folder} has no rule, and `--prune` would delete all that there are; name their folder").into()
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_exit(Exit::Backend)?;
    if let Some(server) = &args.server {
        return runtime.block_on(on_server(server, &rules, unknown, args));
    }
    let odoo = args.odoo.as_deref().map(odoo::open).transpose()?;
    let open = |common: &Common| {
        Workshop::open_as(common, Mode::Write, |database| match &odoo {
            Some(backend) => runtime.block_on(odoo::on_odoo(database, backend, &rules)),
            None => Ok(database),
        })
    };
    let copy;
    let workshop = match open(&args.common) {
        // Nothing of it stays: beside a process that writes it takes place on a copy.
        Err(failure) if args.dry_run && is_locked(&failure) => {
            copy = Copied::of(&args.common)?;
            open(&copy.common)?
        }
        opened => opened?,
    };
    odoo::at_home(&workshop.database, odoo.as_deref())?;
    let edit = Edit { agrees: args.agree, ..workshop.edit(&args.note, args.ask) };
    let work = if args.dry_run { apply::plan } else { apply::apply };
    let applied = workshop.transaction("rules-applied", &args.path.display().to_string(), |conn, line| {
        let steps = work(workshop.ground(conn), &rules, &edit, args.prune)?;
        if !unknown.is_empty() {
            return Err(ApplyError::Refused(Vec::new()));
        }
        line.say(told::steps(&steps, args.dry_run));
        Ok::<_, ApplyError>(steps)
    });
    let steps = match applied {
        Ok(steps) => steps,
        Err(ApplyError::Refused(refused)) => {
            let checked = refused.into_iter().map(Refused::from).collect();
            return refuse(&together(unknown, checked), &args.common);
        }
        Err(ApplyError::Rule(error)) => return Err(Failure::from_error(error)),
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
        print(steps.iter().map(Applied::from), args.dry_run);
        for finding in &mended {
            let detail = if finding.detail.is_empty() { String::new() } else { format!(" ({})", finding.detail) };
            let words = format!("{}{detail}", finding.what);
            outln!("{} {}", styled(YELLOW, if args.dry_run { "differs" } else { "odoo" }), printable(&words));
        }
    }
    Ok(Exit::Ok)
}

/// The same on a running server. Rules whose files have keys that no rule has are only checked there.
async fn on_server(server: &str, rules: &[Rule], unknown: Vec<Refused>, args: &ApplyArgs) -> Result<Exit, Failure> {
    let flag = |on: bool| if on { "true" } else { "false" };
    let query = [
        ("note", args.note.as_str()),
        ("ask_owner", flag(args.ask)),
        ("agree", flag(args.agree)),
        ("prune", flag(args.prune)),
        ("dry_run", flag(args.dry_run || !unknown.is_empty())),
    ];
    let request = Server::at(server)?.to(Method::PUT, "rules", &query)?;
    let told = match ask_or_hear(with_json(request, &json!({ "rules": rules }))).await? {
        Ok(_) if !unknown.is_empty() => return refuse(&unknown, &args.common),
        Ok(told) => told,
        Err(no) => {
            let refused = Refused::by_server(&no.problem);
            if refused.is_empty() {
                return Err(no.failure());
            }
            return refuse(&together(unknown, refused), &args.common);
        }
    };
    if args.common.format.json {
        output::json(&told)?;
        return Ok(Exit::Ok);
    }
    let steps = told.get("steps").cloned().unwrap_or_default();
    let steps: Vec<Applied> = serde_json::from_value(steps).with_context(|| format!("what {server} answered"))?;
    print(steps, args.dry_run);
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
        errln!("{}", styled(BOLD, printable(&one.rule)));
        for FoundWrong { severity, place, message, .. } in &one.findings {
            let word = if severity == "warning" { "warning: " } else { "" };
            errln!("  {}", printable(&format!("{word}{place}: {message}")));
        }
    }
    Err(anyhow!("nothing was applied").into())
}

fn print(steps: impl IntoIterator<Item = Applied>, dry_run: bool) {
    for step in steps {
        let word = match step.change {
            Planned::Create => styled(GREEN, "create"),
            Planned::Update => styled(YELLOW, "update"),
            Planned::Keep => styled(DIM, "keep"),
            Planned::Propose => styled(YELLOW, "propose"),
            Planned::Delete => styled(RED, "delete"),
        };
        outln!("{word} {}", styled(BOLD, printable(&step.rule)));
        if step.change != Planned::Create {
            for difference in &step.differences {
                outln!("  {}", printable(&difference.to_string()));
            }
        }
        for agreed in &step.agreed {
            outln!("  {}", printable(agreed));
        }
        for FoundWrong { severity, place, message, .. } in &step.warnings {
            outln!("  {}", printable(&format!("{severity}: {place}: {message}")));
        }
    }
    if dry_run {
        outln!("nothing was applied: this is what would change");
    }
}

/// The rules of a file or a folder, by file name, with those whose files have keys that no rule has. What does not parse is
/// said for all files at once.
fn read(path: &Path) -> Result<(Vec<Rule>, Vec<Refused>), Failure> {
    let (mut rules, mut unknown, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for file in files(path, &["toml", "json"])? {
        let text = text_file::read(&file)?;
        let parse = if is_of(&file, &["json"]) { file::parse_json_all } else { file::parse_all };
        match parse(&text) {
            Ok(read) => {
                if !read.unknown.is_empty() {
                    let findings = read.unknown.iter().map(FoundWrong::from).collect();
                    unknown.push(Refused { rule: read.rule.name.clone(), findings });
                }
                rules.push(read.rule);
            }
            Err(error) => wrong.push(format!("{}: {error}", file.display())),
        }
    }
    match wrong.is_empty() {
        true => Ok((rules, unknown)),
        false => Err(anyhow!("{}", wrong.join("\n")).into()),
    }
}

/// A file, or those of these kinds in a folder, by name.
pub(crate) fn files(path: &Path, kinds: &[&str]) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.with_context(|| format!("cannot read {}", path.display()))?.path();
        if is_of(&file, kinds) {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn is_of(file: &Path, kinds: &[&str]) -> bool {
    file.extension().is_some_and(|kind| kinds.iter().any(|known| kind == *known))
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
    let stale: Vec<_> = files(folder, &["toml"])?.into_iter().filter(|path| !written.contains(path)).collect();
    for path in stale.iter().filter(|_| prune) {
        fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    if common.format.json {
        output::json(&json!({ "written": written, "stale": stale, "pruned": prune }))?;
        return Ok(Exit::Ok);
    }
    outln!("{} rules written to {}", written.len(), folder.display());
    for path in stale {
        let word = if prune { "removed" } else { "has no rule any more:" };
        outln!("  {word} {}", path.display());
    }
    Ok(Exit::Ok)
}
