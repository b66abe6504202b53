//! Zig: the script and the library as modules, linked with the C bindings.

use std::fs;

use crate::{
    Error, Project, Workshop, bindings,
    c::{STACK, Zig, object},
    error::Doing,
    process::compile,
    workshop::PYTHON_HINT,
};

const OPTIONS: &[&str] = &[
    "-target",
    "wasm32-wasi",
    "-O",
    "ReleaseSmall",
    "-fno-entry",
    "-mexec-model=reactor",
    "-lc",
    "-rdynamic",
    "--stack",
    STACK,
];

pub(crate) fn build(project: &Project, workshop: &Workshop) -> Result<Vec<u8>, Error> {
    let zig = Zig::new(workshop)?;
    let scratch = workshop.scratch()?.to_owned();
    bindings::c(&project.contract()?, &scratch)?;
    let header = scratch.join("automation.h");
    let header = fs::read_to_string(&header).doing("read", &header)?;
    let declarations = scratch.join("bindings.zig");
    fs::write(&declarations, bindings::zig::of_header(&header)).doing("write", &declarations)?;
    let object = object(&zig, &scratch)?;
    let library = project.library()?;

    let mut command = zig.command("build-exe");
    command.args(OPTIONS).args(["--name", "module"]).current_dir(&scratch);
    let module = |name: &str, file: &std::path::Path| format!("-M{name}={}", file.display());
    command.args(["--dep", "bindings", "--dep", "triggerbox", "--dep", "script"]);
    command.arg(module("root", &library.join("main.zig"))).arg(module("bindings", &declarations));
    command.args(["--dep", "bindings"]).arg(module("triggerbox", &library.join("triggerbox.zig")));
    command.args(["--dep", "triggerbox"]).arg(module("script", &project.entry()));
    command.arg(object).arg(scratch.join("automation_component_type.o"));
    compile(&mut command, PYTHON_HINT)?;
    let module = scratch.join("module.wasm");
    bindings::component(&fs::read(&module).doing("read", module)?)
}
