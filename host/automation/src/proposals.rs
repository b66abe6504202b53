//! Changes that wait for a yes, or are kept as advice.

use rusqlite::Connection;
use triggerbox_model::changes::{ChangeSet, Diff};

use crate::{config::Config, error::EngineError, packed::pack, queue::Claim, rule::Mode};

/// Keeps what a run wants to change.
pub(crate) fn keep(
    conn: &Connection,
    config: &Config,
    claim: &Claim,
    changes: &ChangeSet,
    diff: &Diff,
    now: i64,
) -> Result<(), EngineError> {
    use sha2::{Digest, Sha256};
    let packed = pack(changes)?;
    let hash: [u8; 32] = Sha256::digest(&packed).into();
    let (state, expires) = match claim.rule.rule.mode {
        Mode::Recommend => ("recommended", None),
        Mode::Approve | Mode::Auto => ("waiting", Some(now + i64::from(config.approval_hours) * 3_600_000)),
    };
    let sql = "INSERT OR REPLACE INTO engine_proposal (run, hash, changes, diff, why, state, expires) \
               VALUES (?, ?, ?, ?, ?, ?, ?)";
    let why = "the rule's mode asks for it";
    conn.prepare_cached(sql)?.execute((claim.id, hash, packed, pack(diff)?, why, state, expires))?;
    Ok(())
}
