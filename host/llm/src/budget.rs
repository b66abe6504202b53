//! Budgets: what several runs may use together, and the accounts that say what they have used.
//!
//! A call is charged its worst case before it is made and corrected to what it really used after it. A call whose end
//! nobody knows (a crash, a cancelled run, an answer cut off) therefore stays charged at its worst case, and runs at
//! the same time cannot overspend together: a charge is one transaction.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use triggerbox_model::limits::{Breach, Class, Limit, Scope};

/// What calls use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Calls of language models.
    pub calls: u64,
    /// Tokens, in and out.
    pub tokens: u64,
    /// Millionths of a euro.
    pub micro_euro: u64,
}

impl Amount {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            tokens: self.tokens.saturating_add(other.tokens),
            micro_euro: self.micro_euro.saturating_add(other.micro_euro),
        }
    }

    /// What is left without the other.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(other.calls),
            tokens: self.tokens.saturating_sub(other.tokens),
            micro_euro: self.micro_euro.saturating_sub(other.micro_euro),
        }
    }

    /// The first limit that `self` is over.
    fn over(self, max: Self) -> Option<(Limit, u64, u64)> {
        let rows = [
            (Limit::LlmCalls, self.calls, max.calls),
            (Limit::LlmTokens, self.tokens, max.tokens),
            (Limit::LlmCost, self.micro_euro, max.micro_euro),
        ];
        rows.into_iter().find(|(_, used, max)| used > max)
    }
}

/// One account that a call is charged to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Whose it is.
    pub scope: Scope,
    /// Which of them: a run, a rule with a day.
    pub key: String,
    /// What may be used in all.
    pub max: Amount,
}

/// The accounts' table.
pub(crate) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS llm_account (
    scope TEXT NOT NULL, key TEXT NOT NULL,
    calls INTEGER NOT NULL, tokens INTEGER NOT NULL, micro_euro INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
";

/// What an account has used, calls that are under way at their worst case.
///
/// # Errors
/// What SQLite says.
pub fn used(conn: &Connection, scope: Scope, key: &str) -> rusqlite::Result<Amount> {
    let sql = "SELECT calls, tokens, micro_euro FROM llm_account WHERE scope = ? AND key = ?";
    let found = conn.prepare_cached(sql)?.query_row((scope.name(), key), amount);
    Ok(found.optional()?.unwrap_or_default())
}

/// Charges all accounts, or none if one of them does not have it. Call it within a transaction.
///
/// # Errors
/// What SQLite says. The inner error is the first budget that is too small.
pub fn charge(
    conn: &Connection,
    accounts: &[Account],
    amount: Amount,
    class: Class,
) -> rusqlite::Result<Result<(), Breach>> {
    let amount = signed(amount);
    for (at, Account { scope, key, max }) in accounts.iter().enumerate() {
        let total = add(conn, *scope, key, amount)?;
        if let Some((limit, used, max)) = total.over(*max) {
            for Account { scope, key, .. } in accounts.iter().take(at + 1) {
                add(conn, *scope, key, amount.map(i64::wrapping_neg))?;
            }
            return Ok(Err(Breach { limit, used, max, class, scope: *scope }));
        }
    }
    Ok(Ok(()))
}

/// Corrects what was charged at its worst case to what was really used.
///
/// # Errors
/// What SQLite says.
pub fn settle(conn: &Connection, accounts: &[Account], worst: Amount, used: Amount) -> rusqlite::Result<()> {
    let (worst, used) = (signed(worst), signed(used));
    let difference = [used[0] - worst[0], used[1] - worst[1], used[2] - worst[2]];
    for Account { scope, key, .. } in accounts {
        add(conn, *scope, key, difference)?;
    }
    Ok(())
}

/// Adds to an account; what it has used then.
fn add(conn: &Connection, scope: Scope, key: &str, [calls, tokens, micro_euro]: [i64; 3]) -> rusqlite::Result<Amount> {
    let sql = "INSERT INTO llm_account (scope, key, calls, tokens, micro_euro) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (scope, key) DO UPDATE SET
             calls = calls + ?3, tokens = tokens + ?4, micro_euro = micro_euro + ?5
         RETURNING calls, tokens, micro_euro";
    conn.prepare_cached(sql)?.query_row(params![scope.name(), key, calls, tokens, micro_euro], amount)
}

fn amount(row: &Row<'_>) -> rusqlite::Result<Amount> {
    Ok(Amount { calls: number(row.get(0)?), tokens: number(row.get(1)?), micro_euro: number(row.get(2)?) })
}

/// SQLite's integers have 63 bits and a sign; a quarter of that is more than anybody can spend.
fn signed(amount: Amount) -> [i64; 3] {
    [amount.calls, amount.tokens, amount.micro_euro].map(|n| i64::try_from(n).unwrap_or(i64::MAX).min(i64::MAX / 4))
}

fn number(n: i64) -> u64 {
    u64::try_from(n).unwrap_or_default()
}
