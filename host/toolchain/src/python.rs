//! Python, by componentize-py: CPython and the script's modules, imported at build time, in one component.

use std::fs;

use crate::{
    Error, Project, Workshop,
    bindings::WORLD,
    error::Doing,
    process::compile,
    versions::PYTHON,
    workshop::{PYTHON_HINT, python},
};

/// Pure Python packages that a script needs, as pip knows them.
const REQUIREMENTS: &str = "requirements.txt";

/// The library's module that hands events to the script.
const MAIN: &str = "triggerbox_main";

/// componentize-py's own start script names the Python it was installed with; this one does not.
const START: &str = "import sys; from componentize_py import script; sys.exit(script())";

pub(crate) fn build(project: &Project, workshop: &Workshop) -> Result<Vec<u8>, Error> {
    let tool = workshop.install(&PYTHON)?;
    let library = project.library()?;
    let scratch = workshop.scratch()?;
    let wit = scratch.join("automation.wit");
    fs::write(&wit, project.contract()?).doing("write", &wit)?;
    let component = scratch.join("component.wasm");

    let mut command = python();
    command.args(["-c", START, "--quiet", "--world", WORLD, "--wit-path"]).arg(&wit);
    command.args(["componentize", MAIN, "--output"]).arg(&component);
    command.arg("--python-path").arg(&project.folder).arg("--python-path").arg(library);
    let requirements = project.folder.join(REQUIREMENTS);
    if requirements.exists() {
        command.arg("--python-path").arg(workshop.packages(&requirements)?);
    }
    // No .pyc files beside the sources; nothing of the machine's own packages.
    command.env("PYTHONPATH", &tool).env("PYTHONDONTWRITEBYTECODE", "1").env_remove("VIRTUAL_ENV");
    // With these it would tell where in itself it noticed that a script raised, below what the script says.
    command.env_remove("RUST_BACKTRACE").env_remove("RUST_LIB_BACKTRACE");
    compile(command.current_dir(scratch), PYTHON_HINT)?;
    fs::read(&component).doing("read", &component)
}
