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
use reqwest::header::HeaderName;
use rusqlite::Connection;
use sha2::{Digest, Sha256};
use triggerbox_llm::{http::Bound, secret::Secret};
use triggerbox_model::error::Error;

use crate::config::{ConfigError, SHORTEST_SECRET};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS server_secret (
    name TEXT PRIMARY KEY,
    nonce BLOB NOT NULL,
    sealed BLOB NOT NULL,                -- XChaCha20-Poly1305 of the secret, bound to its name, host and header
    host TEXT,                           -- the only host that it is sent to; NULL: it signs, and is sent nowhere
    header TEXT                          -- the only header that scripts have it put into; NULL: it is a provider's key
) STRICT, WITHOUT ROWID";

/// Makes the table, or brings one of an earlier version up to date.
///
/// # Errors
/// What SQLite says.
pub(crate) fn create_table(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(TABLE)?;
    for column in ["host", "header"] {
        let sql = "SELECT count(*) FROM pragma_table_info('server_secret') WHERE name = ?1";
        if conn.query_row(sql, [column], |row| row.get::<_, u32>(0))? == 0 {
            conn.execute_batch(&format!("ALTER TABLE server_secret ADD COLUMN {column} TEXT"))?;
        }
    }
    Ok(())
}

/// A key file is at least this long.
const SHORTEST_KEY: usize = 32;

/// The secrets of one server, open in memory.
#[derive(Default)]
pub struct Vault {
    key: Option<XChaCha20Poly1305>,
    open: RwLock<BTreeMap<String, Kept>>,
}

/// What a secret is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Purpose {
    /// It signs, and is sent nowhere.
    #[default]
    Signs,
    /// It is the key of a provider of language models.
    Key {
        /// The only host that it is sent to, with `:PORT` if that is not the usual one.
        host: String,
    },
    /// Scripts have it put into a header of their requests, as `${secret:NAME}`.
    Header {
        /// The only host that it is sent to.
        host: String,
        /// The only header that it is put into.
        header: HeaderName,
    },
}

impl Purpose {
    /// What people say: without a host it signs, without a header it is a key.
    ///
    /// # Errors
    /// `bad-secret-host`, `bad-secret-header`
    pub fn of(host: Option<&str>, header: Option<&str>) -> Result<Self, Error> {
        let Some(host) = host else {
            let alone =
                || Error::invalid("bad-secret-header", "a secret for a header is sent to one host: say to which");
            return header.map_or(Ok(Self::Signs), |_| Err(alone()));
        };
        if !is_host(host) {
            let text = "the host of a secret is that of an address, such as api.example.com or 10.0.0.7:8080";
            return Err(Error::invalid("bad-secret-host", text));
        }
        let host = host.to_owned();
        let Some(header) = header else { return Ok(Self::Key { host }) };
        let bad = |_| Error::invalid("bad-secret-header", format!("`{header}` is not the name of a header"));
        Ok(Self::Header { host, header: HeaderName::from_bytes(header.to_ascii_lowercase().as_bytes()).map_err(bad)? })
    }

    /// The only host that it is sent to.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Signs => None,
            Self::Key { host } | Self::Header { host, .. } => Some(host),
        }
    }

    fn header(&self) -> Option<&str> {
        match self {
            Self::Header { header, .. } => Some(header.as_str()),
            Self::Signs | Self::Key { .. } => None,
        }
    }
}

/// One secret.
#[derive(Clone)]
struct Kept {
    secret: Vec<u8>,
    purpose: Purpose,
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
        for (name, nonce, sealed, host, header) in rows {
            let purpose = Purpose::of(host.as_deref(), header.as_deref());
            let purpose = purpose.map_err(|error| refuse(format!("the secret `{name}`: {}", error.message)))?;
            let bound = bound_to(&name, &purpose);
            let payload = Payload { msg: &sealed, aad: bound.as_bytes() };
            let secret =
                <[u8; 24]>::try_from(nonce).ok().and_then(|nonce| key.decrypt(&XNonce::from(nonce), payload).ok());
            let secret =
                secret.ok_or_else(|| refuse(format!("does not open the secret `{name}`: it is another key")))?;
            open.insert(name, Kept { secret, purpose });
        }
        Ok(Self { key: Some(key), open: RwLock::new(open) })
    }

    /// Whether secrets can be kept.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.key.is_some()
    }

    /// The names of what is kept, each with what it is for.
    #[must_use]
    pub fn names(&self) -> BTreeMap<String, Purpose> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.iter().map(|(name, kept)| (name.clone(), kept.purpose.clone())).collect()
    }

    /// Those that scripts may have put into their requests. One that is no text is none: no header takes it.
    pub(crate) fn for_headers(&self) -> Vec<Bound> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let bound = |(name, kept): (&String, &Kept)| {
            let Purpose::Header { host, header } = kept.purpose.clone() else { return None };
            let value = Secret::new(String::from_utf8(kept.secret.clone()).ok()?);
            Some(Bound { name: name.clone(), host, header, value })
        };
        open.iter().filter_map(bound).collect()
    }

    /// One that signs.
    pub(crate) fn get(&self, name: &str) -> Option<Vec<u8>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(name).filter(|kept| kept.purpose == Purpose::Signs).map(|kept| kept.secret.clone())
    }

    /// One that is sent to a host.
    ///
    /// # Errors
    /// It is not there, or is for something else: in words.
    pub(crate) fn key(&self, name: &str, host: &str) -> Result<Vec<u8>, String> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let kept = open.get(name).ok_or_else(|| format!("there is no secret `{name}`"))?;
        match &kept.purpose {
            Purpose::Key { host: its } if its == host => Ok(kept.secret.clone()),
            Purpose::Key { host: its } => {
                Err(format!("the secret `{name}` is only sent to {its}, never to {host}: write it anew for that"))
            }
            Purpose::Signs => {
                Err(format!("the secret `{name}` signs and is sent nowhere: write one for the host {host}"))
            }
            Purpose::Header { .. } => {
                Err(format!("the secret `{name}` is for requests of scripts: write one without a header for {host}"))
            }
        }
    }

    /// A secret as it is kept: nonce and sealed bytes.
    ///
    /// # Errors
    /// `no-key-file`, `weak-secret`, `bad-secret-name`
    pub fn seal(&self, name: &str, secret: &str, purpose: &Purpose) -> Result<([u8; 24], Vec<u8>), Error> {
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
        let bound = bound_to(name, purpose);
        let payload = Payload { msg: secret.as_bytes(), aad: bound.as_bytes() };
        Ok((nonce, key.encrypt(&XNonce::from(nonce), payload).map_err(|_| no_key())?))
    }

    pub(crate) fn keep(&self, name: &str, secret: &str, purpose: Purpose) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.insert(name.to_owned(), Kept { secret: secret.as_bytes().to_vec(), purpose });
    }

    pub(crate) fn forget(&self, name: &str) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// What a sealed secret is bound to: under another name, for another host or another header, it does not open.
fn bound_to(name: &str, purpose: &Purpose) -> String {
    // None of them has a line break in it.
    let parts = [Some(name), purpose.host(), purpose.header()];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// Whether it is how an address tells its host, with a port that is not the usual one.
fn is_host(text: &str) -> bool {
    let url = reqwest::Url::parse(&format!("https://{text}/")).ok();
    url.is_some_and(|url| {
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        format!("{}{port}", url.host_str().unwrap_or_default()) == text && url.as_str() == format!("https://{text}/")
    })
}

/// Writes a sealed secret.
///
/// # Errors
/// What SQLite says.
pub fn write(
    conn: &Connection,
    name: &str,
    (nonce, sealed): ([u8; 24], &[u8]),
    purpose: &Purpose,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO server_secret (name, nonce, sealed, host, header) VALUES (?1, ?2, ?3, ?4, ?5) \
               ON CONFLICT (name) DO UPDATE SET nonce = ?2, sealed = ?3, host = ?4, header = ?5";
    conn.execute(sql, (name, nonce, sealed, purpose.host(), purpose.header())).map(drop)
}

/// Deletes a secret.
///
/// # Errors
/// What SQLite says.
pub fn delete(conn: &Connection, name: &str) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM server_secret WHERE name = ?1", [name]).map(drop)
}

type Sealed = (String, Vec<u8>, Vec<u8>, Option<String>, Option<String>);

fn read(conn: &Connection) -> rusqlite::Result<Vec<Sealed>> {
    let mut statement = conn.prepare("SELECT name, nonce, sealed, host, header FROM server_secret")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))?.collect()
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names().keys()).finish()
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
        let (nonce, sealed) = vault.seal("shop", "a secret of the shop", &Purpose::Signs).unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("shop"));
        write(&conn, "shop", (nonce, &sealed), &Purpose::Signs).unwrap();
        let again = Vault::open(&conn, Some(&file)).unwrap();
        assert_eq!(again.get("shop").unwrap(), b"a secret of the shop");
        assert!(Vault::open(&conn, Some(&other)).unwrap_err().to_string().contains("another key"));
        // Under another name it is worth nothing.
        conn.execute("UPDATE server_secret SET name = 'alerts'", []).unwrap();
        assert!(Vault::open(&conn, Some(&file)).is_err());
        assert_eq!(vault.seal("shop", "short", &Purpose::Signs).unwrap_err().code, "weak-secret");
        assert_eq!(
            Vault::default().seal("shop", "a secret of the shop", &Purpose::Signs).unwrap_err().code,
            "no-key-file"
        );
    }

    #[test]
    fn what_is_sent_to_one_host_is_sent_to_no_other_and_signs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, [7; 32]).unwrap();
        let conn = Connection::open_in_memory().unwrap();
        // A table as it was before secrets had hosts.
        let sql = "CREATE TABLE server_secret (name TEXT PRIMARY KEY, nonce BLOB NOT NULL, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID";
        conn.execute_batch(sql).unwrap();
        create_table(&conn).unwrap();
        create_table(&conn).unwrap();
        let vault = Vault::open(&conn, Some(&file)).unwrap();
        let key = Purpose::of(Some("api.example"), None).unwrap();
        let (nonce, sealed) = vault.seal("model", "a key of the model", &key).unwrap();
        write(&conn, "model", (nonce, &sealed), &key).unwrap();
        let vault = Vault::open(&conn, Some(&file)).unwrap();
        assert_eq!(vault.key("model", "api.example").unwrap(), b"a key of the model");
        assert!(vault.key("model", "evil.example").unwrap_err().contains("only sent to api.example"));
        assert_eq!(vault.get("model"), None);
        vault.keep("shop", "a secret of the shop", Purpose::Signs);
        assert!(vault.key("shop", "api.example").unwrap_err().contains("signs"));
        assert!(vault.key("none", "api.example").is_err());
        assert!(vault.for_headers().is_empty());
        // Whoever can write to the file gets it sent nowhere else, and in nothing else.
        for (host, header) in [(Some("evil.example"), None), (None, None), (Some("api.example"), Some("x-key"))] {
            conn.execute("UPDATE server_secret SET host = ?1, header = ?2", [host, header]).unwrap();
            assert!(Vault::open(&conn, Some(&file)).is_err(), "{host:?} {header:?}");
        }
        assert_eq!(Purpose::of(None, Some("x-key")).unwrap_err().code, "bad-secret-header");
        assert_eq!(Purpose::of(Some("api.example"), Some("x key")).unwrap_err().code, "bad-secret-header");
        assert_eq!(Purpose::of(Some("x/y"), None).unwrap_err().code, "bad-secret-host");
        for host in ["api.example.com", "10.0.0.7:8080", "[::1]:11434", "localhost"] {
            assert!(is_host(host), "{host}");
        }
        for host in ["", "https://x", "x/y", "x?y", "a@x", "X.example", "x:443", "x y", "x:0x", "x#y", "x\ny", "0x7f.1"]
        {
            assert!(!is_host(host), "{host}");
        }
    }
}
