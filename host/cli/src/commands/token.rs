//! `triggerbox token`: bearer tokens of the API.

use anyhow::anyhow;
use jiff::SignedDuration;
use serde_json::json;
use triggerbox_automation::EngineError;
use triggerbox_server::{
    tokens::{self, NewToken, Scope},
    told,
};
use triggerbox_store::db::{DbError, Mode};

use crate::{
    args::{Common, TokenCommand},
    commands::workshop::{Workshop, login},
    exit::{Exit, Failure, OrExit},
    output::{self, printable},
};

pub(crate) fn run(command: &TokenCommand) -> Result<Exit, Failure> {
    match command {
        TokenCommand::Create { name, scopes, days, common } => create(name, scopes, *days, common),
        TokenCommand::List { common } => list(common),
        TokenCommand::Revoke { id, common } => revoke(*id, common),
    }
}

fn open(common: &Common, mode: Mode) -> Result<Workshop, Failure> {
    if common.database.file.is_none() {
        return Err(
            anyhow!("say which database: a token for one in memory would be gone at once; give --db FILE").into()
        );
    }
    let workshop = Workshop::open(common, mode)?;
    if mode == Mode::Write {
        let made = workshop.database.transaction(|conn| tokens::create_table(conn).map_err(DbError::from));
        made.or_exit(Exit::Backend)?;
    }
    Ok(workshop)
}

fn create(name: &str, scopes: &[Scope], days: Option<u32>, common: &Common) -> Result<Exit, Failure> {
    let workshop = open(common, Mode::Write)?;
    let expires = days.map(|days| workshop.now.saturating_add(SignedDuration::from_hours(24 * i64::from(days))));
    let new = NewToken {
        name: name.to_owned(),
        user: workshop.person.user.id,
        scopes: scopes.iter().copied().collect(),
        expires: expires.transpose()?,
    };
    let made = workshop.transaction("token-made", name, |conn, line| {
        let made = tokens::create(conn, &new, workshop.now)?;
        line.say(told::token(&made.0));
        Ok::<_, DbError>(made)
    });
    let (token, secret) = made.or_exit(Exit::Backend)?;
    if common.format.json {
        output::json(&json!({ "token": token, "secret": secret }))?;
    } else {
        // Alone on stdout, so that a script can take it.
        outln!("{secret}");
        errln!("token {} acts as {}; it is not to be had again", token.id, workshop.person.user.login);
    }
    Ok(Exit::Ok)
}

fn list(common: &Common) -> Result<Exit, Failure> {
    let workshop = open(common, Mode::Read)?;
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    let known = tokens::has_table(&conn).and_then(|there| if there { tokens::list(&conn) } else { Ok(Vec::new()) });
    let tokens = known.map_err(DbError::from).or_exit(Exit::Backend)?;
    if common.format.json {
        output::json(&tokens)?;
        return Ok(Exit::Ok);
    }
    for token in tokens {
        let scopes = token.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(",");
        let expires = token.expires.map_or_else(|| "for ever".to_owned(), |time| format!("until {time}"));
        let (name, user) = (printable(&token.name), login(&conn, token.user));
        outln!("{:>4}  {name}  {user}  {scopes}  {expires}", token.id);
    }
    Ok(Exit::Ok)
}

fn revoke(id: i64, common: &Common) -> Result<Exit, Failure> {
    let workshop = open(common, Mode::Write)?;
    workshop.write("token-revoked", &id.to_string(), |conn, line| {
        line.say(told::token(&tokens::revoke(conn, id, workshop.now)?.map_err(EngineError::from)?));
        Ok::<_, EngineError>(())
    })?;
    if common.format.json {
        output::json(&json!({ "revoked": id }))?;
    } else {
        outln!("token {id} is revoked");
    }
    Ok(Exit::Ok)
}
