//! The pages in a real browser: installs what lacks, then runs the browser's way through them. Its pictures stay in
//! `target/pages/screens`.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Result;

use crate::step::{cargo_with, root, status};

const CHROMIUM: &str = "/usr/bin/chromium";

/// Runs the tests of `tests/pages`.
pub fn run() -> Result<()> {
    if !Path::new(CHROMIUM).exists() && std::env::var_os("TRIGGERBOX_CHROMIUM").is_none() {
        install("chromium")?;
    }
    let tells = Command::new("npm").arg("--version").stdout(Stdio::null()).status();
    if !tells.is_ok_and(|status| status.success()) {
        install("npm")?;
    }
    let folder = root().join("target/pages");
    fs::create_dir_all(&folder)?;
    for file in ["package.json", "package-lock.json", "run.mjs"] {
        fs::copy(root().join("tests/pages").join(file), folder.join(file))?;
    }
    let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"];
    status(Command::new("npm").args(npm).current_dir(&folder))?;
    let folder = folder.display().to_string();
    let arguments = ["test", "--workspace", "--test", "pages", "--", "--ignored", "--nocapture"];
    cargo_with(&arguments, &[("TRIGGERBOX_PAGES", &folder)])
}

/// Installs a package of the system.
fn install(package: &str) -> Result<()> {
    println!("installing {package}");
    status(Command::new("apt-get").args(["update", "-qq"]))?;
    status(Command::new("apt-get").args([
        "install",
        "-y",
        "-qq",
        "--no-install-recommends",
        package,
        "fonts-dejavu-core",
    ]))
}
