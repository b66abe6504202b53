//! Components by the content that they were built from: what did not change is not built again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{
    Error, Project, Workshop, build,
    error::Doing,
    versions::{GO, JAVASCRIPT, PYTHON, ZIG},
};

/// The component of a folder, from the cache if it was built before.
///
/// # Errors
/// As [`build`].
pub fn build_cached(project: &Project, workshop: &Workshop, cache: &Path) -> Result<Vec<u8>, Error> {
    fs::create_dir_all(cache).doing("make", cache)?;
    let file = cache.join(format!("{}.wasm", key(project)?));
    // One builds, the others wait for it.
    let guard = file.with_extension("lock");
    let lock = fs::File::create(&guard).doing("make", &guard)?;
    lock.lock().doing("lock", &guard)?;
    if file.exists() {
        return fs::read(&file).doing("read", file);
    }
    let component = build(project, workshop)?;
    let partial = file.with_extension("partial");
    fs::write(&partial, &component).doing("write", &partial)?;
    fs::rename(&partial, &file).doing("rename", partial)?;
    Ok(component)
}

/// The hash of everything that the component is made of.
fn key(project: &Project) -> Result<String, Error> {
    let mut hasher = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(u64::try_from(bytes.len()).unwrap_or_default().to_le_bytes());
        hasher.update(bytes);
    };
    part(project.contract()?.as_bytes());
    part(env!("CARGO_PKG_VERSION").as_bytes());
    part(include_str!("javascript/build.mjs").as_bytes());
    for toolchain in [PYTHON, JAVASCRIPT, ZIG, GO] {
        part(toolchain.label().as_bytes());
    }
    let mut folders = vec![project.folder.as_path()];
    folders.extend(project.library().ok());
    for folder in folders {
        for file in files(folder)? {
            part(file.strip_prefix(folder).unwrap_or(&file).to_string_lossy().as_bytes());
            part(&fs::read(&file).doing("read", &file)?);
        }
    }
    let hash: String = hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}-{hash}", project.language))
}

/// All files below a folder, in order, without what builds leave there.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).doing("read", folder)? {
        let path = entry.doing("read", folder)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || matches!(name.as_str(), "__pycache__" | "node_modules" | "target") {
            continue;
        }
        if path.is_dir() {
            found.append(&mut files(&path)?);
        } else if !name.ends_with(".wasm") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_content_is_another_key() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("script.py", "def run(event): pass");
        let first = key(&Project::open(folder.path()).unwrap()).unwrap();
        write("out.wasm", "not a source");
        assert_eq!(key(&Project::open(folder.path()).unwrap()).unwrap(), first);
        write("checks.py", "");
        assert_ne!(key(&Project::open(folder.path()).unwrap()).unwrap(), first);
    }
}
