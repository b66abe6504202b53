//! Secrets that people type into the settings: encrypted in the database with a key that lies outside of it, written and
//! never shown again.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{PoisonError, RwLock},
};

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use rusqlite::Connection;
use sha2::{Digest, Sha256};
use triggerbox_model::error::Error;

use crate::config::{ConfigError, SHORTEST_SECRET};

pub(crate) const TABLE: &str = "CREATE TABLE IF NOT EXISTS server_secret (
    name TEXT PRIMARY KEY,
    nonce BLOB NOT NULL,
    sealed BLOB NOT NULL                 -- XChaCha20-Poly1305 of the secret, bound to its name
) STRICT, WITHOUT ROWID";

/// A key file is at least this long.
const SHORTEST_KEY: usize = 32;

/// The secrets of one server, open in memory.
#[derive(Default)]
pub struct Vault {
    key: Option<XChaCha20Poly1305>,
    open: RwLock<BTreeMap<String, Vec<u8>>>,
}

impl Vault {
    /// Opens what the database holds, with the key of a file; without a file there is nothing to open and to keep.
    ///
    /// # Errors
    /// The key cannot be read, is too short, or is another one.
    pub(crate) fn open(conn: &Connection, file: Option<&Path>) -> Result<Self, ConfigError> {
        let refuse = |problem: String| ConfigError::Invalid { place: "web.key-file".to_owned(), problem };
        let Some(file) = file else { return Ok(Self::default()) };
        let bytes = std::fs::read(file).map_err(|error| refuse(format!("{}: {error}", file.display())))?;
        if bytes.len() < SHORTEST_KEY {
            return Err(refuse(format!("has fewer than {SHORTEST_KEY} bytes; draw a longer one")));
        }
        let key = XChaCha20Poly1305::new(&<[u8; 32]>::from(Sha256::digest(&bytes)).into());
        let mut open = BTreeMap::new();
        let rows = read(conn).map_err(|error| refuse(format!("the secrets cannot be read: {error}")))?;
        for (name, nonce, sealed) in rows {
            let payload = Payload { msg: &sealed, aad: name.as_bytes() };
            let secret =
                <[u8; 24]>::try_from(nonce).ok().and_then(|nonce| key.decrypt(&XNonce::from(nonce), payload).ok());
            let secret =
                secret.ok_or_else(|| refuse(format!("does not open the secret `{name}`: it is another key")))?;
            open.insert(name, secret);
        }
        Ok(Self { key: Some(key), open: RwLock::new(open) })
    }

    /// Whether secrets can be kept.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.key.is_some()
    }

    /// The names of what is kept.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    pub(crate) fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// A secret as it is kept: nonce and sealed bytes.
    ///
    /// # Errors
    /// `no-key-file`, `weak-secret`, `bad-secret-name`
    pub fn seal(&self, name: &str, secret: &str) -> Result<([u8; 24], Vec<u8>), Error> {
        let no_key = || Error::invalid("no-key-file", "secrets need a key outside of the database: set `web.key-file`");
        let key = self.key.as_ref().ok_or_else(no_key)?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(Error::invalid("bad-secret-name", "a secret's name has lower-case letters, digits and dashes"));
        }
        if secret.len() < SHORTEST_SECRET {
            let text = format!("a secret has at least {SHORTEST_SECRET} bytes; draw a longer one");
            return Err(Error::invalid("weak-secret", text));
        }
        let nonce = rand::random::<[u8; 24]>();
        let payload = Payload { msg: secret.as_bytes(), aad: name.as_bytes() };
        Ok((nonce, key.encrypt(&XNonce::from(nonce), payload).map_err(|_| no_key())?))
    }

    pub(crate) fn keep(&self, name: &str, secret: &str) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.insert(name.to_owned(), secret.as_bytes().to_vec());
    }

    pub(crate) fn forget(&self, name: &str) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// Writes a sealed secret.
///
/// # Errors
/// What SQLite says.
pub fn write(conn: &Connection, name: &str, nonce: [u8; 24], sealed: &[u8]) -> rusqlite::Result<()> {
    let sql = "INSERT INTO server_secret (name, nonce, sealed) VALUES (?1, ?2, ?3) \
               ON CONFLICT (name) DO UPDATE SET nonce = ?2, sealed = ?3";
    conn.execute(sql, (name, nonce, sealed)).map(drop)
}

/// Deletes a secret.
///
/// # Errors
/// What SQLite says.
pub fn delete(conn: &Connection, name: &str) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM server_secret WHERE name = ?1", [name]).map(drop)
}

type Sealed = (String, Vec<u8>, Vec<u8>);

fn read(conn: &Connection) -> rusqlite::Result<Vec<Sealed>> {
    let mut statement = conn.prepare("SELECT name, nonce, sealed FROM server_secret")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_opens_with_its_key_only() {
        let folder = tempfile::tempdir().unwrap();
        let (file, other) = (folder.path().join("key"), folder.path().join("other"));
        std::fs::write(&file, [7; 32]).unwrap();
        std::fs::write(&other, [8; 32]).unwrap();
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(TABLE).unwrap();
        let vault = Vault::open(&conn, Some(&file)).unwrap();
        let (nonce, sealed) = vault.seal("shop", "a secret of the shop").unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("shop"));
        write(&conn, "shop", nonce, &sealed).unwrap();
        let again = Vault::open(&conn, Some(&file)).unwrap();
        assert_eq!(again.get("shop").unwrap(), b"a secret of the shop");
        assert!(Vault::open(&conn, Some(&other)).unwrap_err().to_string().contains("another key"));
        // Under another name it is worth nothing.
        conn.execute("UPDATE server_secret SET name = 'alerts'", []).unwrap();
        assert!(Vault::open(&conn, Some(&file)).is_err());
        assert_eq!(vault.seal("shop", "short").unwrap_err().code, "weak-secret");
        assert_eq!(Vault::default().seal("shop", "a secret of the shop").unwrap_err().code, "no-key-file");
    }
}
