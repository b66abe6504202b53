//! Relative links of every page point to something.

use std::{fs, path::Path};

use anyhow::{Result, bail, ensure};

use crate::step::root;

/// Fails if a page of the book, or one beside the code, links to what is not there.
pub(crate) fn check() -> Result<()> {
    let mut broken = Vec::new();
    look(&root().join("docs"), &mut broken)?;
    look(&root().join("guest-examples"), &mut broken)?;
    look(&root(), &mut broken)?;
    ensure!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
    Ok(())
}

fn look(folder: &Path, broken: &mut Vec<String>) -> Result<()> {
    // The repository's own folder holds build folders and other workspaces.
    let nested = folder != root();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && nested && !path.ends_with("target") && !path.ends_with("book") {
            look(&path, broken)?;
        }
        if path.extension().is_none_or(|kind| kind != "md") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.contains(' ') {
                continue;
            }
            let Some(parent) = path.parent() else { bail!("{} has no folder", path.display()) };
            if !parent.join(file).exists() {
                broken.push(format!("{}: {target}", path.strip_prefix(root())?.display()));
            }
        }
    }
    Ok(())
}
