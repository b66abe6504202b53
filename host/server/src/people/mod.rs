//! The people who sign in: accounts with roles, their sessions, and the log of what they changed.
//!
//! | module | what it holds |
//! |---|---|
//! | [`accounts`] | who may sign in, as which user of the records |
//! | [`roles`] | what each role opens |
//! | [`password`] | hashes of passwords |
//! | [`invites`] | links that set a password, good once |
//! | [`sessions`] | browsers that are signed in |
//! | [`devices`] | browsers in which somebody signed in before |
//! | [`pace`] | how often somebody may try |
//! | [`audit`] | who changed what, when, from where: never edited |

pub mod accounts;
pub mod audit;
pub mod devices;
pub mod invites;
pub mod pace;
pub mod password;
pub mod roles;
pub mod sessions;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rusqlite::Connection;
use sha2::{Digest, Sha256};

pub use self::{
    accounts::Account,
    devices::DeviceKey,
    roles::Role,
    sessions::{Session, SessionKey},
};

/// Makes the tables of people, in a transaction of the caller.
///
/// # Errors
/// What SQLite says.
pub fn create_tables(conn: &Connection) -> rusqlite::Result<()> {
    let tables = [accounts::TABLE, invites::TABLE, sessions::TABLE, devices::TABLE, audit::TABLE];
    tables.iter().try_for_each(|sql| conn.execute_batch(sql))
}

/// A text of 256 random bits that nobody guesses.
fn draw() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// What is kept of a drawn text: with 256 random bits, one round is enough.
fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}
