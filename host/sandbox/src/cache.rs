//! Compiled scripts on disk.
//!
//! An artefact is machine code: loading one that somebody else wrote is running their code. So each carries a MAC
//! over itself, the component's hash and the engine's fingerprint, under a key that lives outside the folder.
//! What does not check out is compiled again, never loaded.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use cap_std::{ambient_authority, fs::Dir};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::hash::ContentHash;

/// First bytes of a file in the cache: its format's name and version.
const MAGIC: &[u8; 8] = b"TBXCODE1";
const MAC_BYTES: usize = 32;
const KEY_BYTES: usize = 32;

/// Bytes of all artefacts of a folder. What has not been loaded for the longest time goes first.
const LARGEST: u64 = 2 << 30;

/// A folder of compiled scripts.
pub struct Cache {
    folder: Dir,
    key: [u8; KEY_BYTES],
    largest: u64,
}

/// A compiled script that was in the cache.
pub(crate) struct Artefact {
    /// With what stands before it: megabytes are not moved for that.
    file: Vec<u8>,
}

impl Artefact {
    /// The machine code.
    #[must_use]
    pub(crate) fn code(&self) -> &[u8] {
        self.file.get(MAGIC.len() + MAC_BYTES..).unwrap_or_default()
    }
}

/// Why there is no cache. An operator must act.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The folder cannot be used.
    #[error("the cache folder {path} cannot be used: {source}", path = .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The key file cannot be used.
    #[error("the cache's key file {path} cannot be used: {problem}", path = .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
}

impl Cache {
    /// Opens a cache, and makes the folder and the key if they are not there. Whoever can write the key file can
    /// have code loaded: it must lie outside the folder, and belong to nobody else.
    ///
    /// # Errors
    /// [`CacheError`]
    pub fn open(folder: &Path, key_file: &Path) -> Result<Self, CacheError> {
        let unusable = |source| CacheError::Folder { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(unusable)?;
        let dir = Dir::open_ambient_dir(folder, ambient_authority()).map_err(unusable)?;
        let bad_key = |problem: String| CacheError::Key { path: key_file.to_owned(), problem };
        let parent = key_file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(|error| bad_key(error.to_string()))?;
        let inside = parent.canonicalize().and_then(|parent| Ok(parent.starts_with(folder.canonicalize()?)));
        if inside.map_err(|error| bad_key(error.to_string()))? {
            return Err(bad_key("it lies inside the cache folder; move it elsewhere".to_owned()));
        }
        let key = match read_key(key_file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_key(key_file).and_then(|()| read_key(key_file))
            }
            read => read,
        };
        Ok(Self { folder: dir, key: key.map_err(|error| bad_key(error.to_string()))?, largest: LARGEST })
    }

    /// The same with another bound on the bytes of all artefacts together; 2 GiB without it.
    #[must_use]
    pub fn largest(self, bytes: u64) -> Self {
        Self { largest: bytes, ..self }
    }

    /// The artefact of a component, if there is one that this host made with this engine.
    #[must_use]
    pub(crate) fn load(&self, hash: ContentHash, fingerprint: &str) -> Option<Artefact> {
        let mut file = self.folder.open(file_name(hash, fingerprint)).ok()?.into_std();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        let (head, code) = bytes.split_at_checked(MAGIC.len() + MAC_BYTES)?;
        let mac = head.strip_prefix(MAGIC)?;
        // Compares in constant time.
        self.mac(hash, fingerprint, code).verify_slice(mac).ok()?;
        // It is not the next to go; in a folder that cannot be written to nothing goes.
        let _ = file.set_modified(SystemTime::now());
        Some(Artefact { file: bytes })
    }

    /// Keeps an artefact that this host has just made.
    ///
    /// # Errors
    /// What the system says; the script works all the same.
    pub fn store(&self, hash: ContentHash, fingerprint: &str, code: &[u8]) -> io::Result<()> {
        let mac = self.mac(hash, fingerprint, code).finalize().into_bytes();
        let name = file_name(hash, fingerprint);
        // Written under another name first: a reader sees all of it or nothing.
        let unfinished = format!("{name}.{:016x}.new", rand::random::<u64>());
        let write = || {
            let mut file = self.folder.create(&unfinished)?;
            file.write_all(MAGIC)?;
            file.write_all(&mac)?;
            file.write_all(code)?;
            self.folder.rename(&unfinished, &self.folder, &name)
        };
        write().inspect_err(|_| {
            let _ = self.folder.remove_file(&unfinished);
        })?;
        self.shrink(&name)
    }

    /// Lets go what has not been loaded for the longest time, until the rest is small enough. What was cut off while it was
    /// written goes in its turn; of what another host removes meanwhile there is nothing to remove.
    fn shrink(&self, newest: &str) -> io::Result<()> {
        let (mut all, mut bytes) = (Vec::new(), 0_u64);
        for entry in self.folder.entries()? {
            let entry = entry?;
            let (Ok(name), Ok(metadata)) = (entry.file_name().into_string(), entry.metadata()) else { continue };
            let ours = name.ends_with(".cwasm") || name.ends_with(".new");
            if !metadata.is_file() || !ours {
                continue;
            }
            bytes = bytes.saturating_add(metadata.len());
            if name != newest {
                all.push((metadata.modified()?.into_std(), name, metadata.len()));
            }
        }
        all.sort();
        for (_, name, size) in all {
            if bytes <= self.largest {
                break;
            }
            match self.folder.remove_file(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => bytes = bytes.saturating_sub(size),
            }
        }
        Ok(())
    }

    /// The MAC of an artefact, with all that it stands for: nothing of it can be put in another's place.
    fn mac(&self, hash: ContentHash, fingerprint: &str, code: &[u8]) -> Hmac<Sha256> {
        // HMAC pads short keys with zeros to the hash's block.
        let mut block = [0; 64];
        block.iter_mut().zip(self.key).for_each(|(byte, key)| *byte = key);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(MAGIC);
        mac.update(&(fingerprint.len() as u64).to_le_bytes());
        mac.update(fingerprint.as_bytes());
        mac.update(&hash.0);
        mac.update(code);
        mac
    }
}

/// Other engines' artefacts lie beside, so that two versions of the host can share a folder during an upgrade.
fn file_name(hash: ContentHash, fingerprint: &str) -> String {
    let safe: String = fingerprint.chars().filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).collect();
    format!("{hash}-{safe}.cwasm")
}

fn read_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let file = fs::File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::other("others may read or write it; `chmod 600` it, or delete it to get a new one"));
    }
    let mut key = Vec::new();
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut key)?;
    key.try_into().map_err(|_| io::Error::other("it has not 32 bytes; delete it to get a new one"))
}

/// Writes a new random key, whole or not at all: two hosts that start at once end with one key.
fn make_key(path: &Path) -> io::Result<()> {
    let unfinished = path.with_extension(format!("{:016x}.new", rand::random::<u64>()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let linked = file
        .write_all(&rand::random::<[u8; KEY_BYTES]>())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&unfinished, path));
    fs::remove_file(&unfinished)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}
