//! The pages in a real browser: installs what lacks, then runs the browser's way through them. Its pictures stay in
//! `target/screenshots`, an artefact of CI.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Result;

use crate::{
    step::{root, status},
    tools,
};

const CHROMIUM: &str = "/usr/bin/chromium";

/// Runs the tests of `tests/pages`.
pub(crate) fn run() -> Result<()> {
    if !Path::new(CHROMIUM).exists() && std::env::var_os("TRIGGERBOX_CHROMIUM").is_none() {
        install(&["chromium", "fonts-dejavu-core"])?;
    }
    // Beside a node of another origin, Debian's npm is not installed: that one has its own.
    for (program, package) in [("node", "nodejs"), ("npm", "npm")] {
        let tells = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !tells.is_ok_and(|status| status.success()) {
            install(&[package])?;
        }
    }
    let folder = root().join("target/pages");
    fs::create_dir_all(&folder)?;
    let source = root().join("tests/pages");
    for entry in fs::read_dir(&source)? {
        let path = entry?.path();
        if let (Some("mjs"), Some(name)) = (path.extension().and_then(OsStr::to_str), path.file_name()) {
            fs::copy(&path, folder.join(name))?;
        }
    }
    packages(&source, &folder)?;
    // What is there afterwards is of this run.
    let screenshots = root().join("target/screenshots");
    if screenshots.exists() {
        fs::remove_dir_all(&screenshots)?;
    }
    fs::create_dir_all(&screenshots)?;
    let (folder, screenshots) = (folder.display().to_string(), screenshots.display().to_string());
    tools::tests_with(
        &["--test", "commands", "--", "--ignored", "--nocapture", "pages::"],
        &[("TRIGGERBOX_PAGES", &folder), ("TRIGGERBOX_SCREENSHOTS", &screenshots)],
    )?;
    println!("screenshots: {screenshots}");
    Ok(())
}

/// Installs the packages of the lock file, once for each state of it.
fn packages(source: &Path, folder: &Path) -> Result<()> {
    let (lock, done) = (fs::read(source.join("package-lock.json"))?, folder.join("installed-lock.json"));
    if fs::read(&done).is_ok_and(|known| known == lock) {
        return Ok(());
    }
    for file in ["package.json", "package-lock.json"] {
        fs::copy(source.join(file), folder.join(file))?;
    }
    let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"];
    status(Command::new("npm").args(npm).current_dir(folder))?;
    Ok(fs::write(&done, lock)?)
}

/// Installs packages of the system.
fn install(packages: &[&str]) -> Result<()> {
    println!("installing {}", packages.join(" "));
    let apt = |arguments: &[&str]| {
        status(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()))
    };
    apt(&["update", "-qq"])?;
    apt(&[&["install", "-y", "-qq", "--no-install-recommends"], packages].concat())
}
