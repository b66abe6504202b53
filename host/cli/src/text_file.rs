//! Files that people write.

use std::{fs, path::Path};

use anyhow::{Context, Result, anyhow};

/// The text of a file.
///
/// # Errors
/// With the file's name: it cannot be read, or it is not text in UTF-8 (and from which byte on).
pub(crate) fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    String::from_utf8(bytes).map_err(|error| {
        let byte = error.utf8_error().valid_up_to() + 1;
        anyhow!("{} is not text in UTF-8: see byte {byte}; save it as UTF-8", path.display())
    })
}
