//! Go: one module made of the library, the bindings and the script, so that nothing is fetched.

use std::{fs, path::Path, process::Command};

use crate::{Error, Project, Workshop, bindings, error::Doing, process::compile, versions::GO, workshop::PYTHON_HINT};

/// The module's name: what scripts import the library by.
const MODULE: &str = "module triggerbox\n\ngo 1.25\n";

/// Packages of the bindings, as they are generated and as they lie here.
const PACKAGES: [(&str, &str); 3] = [
    ("\"wit_component/triggerbox_automation_", "\"triggerbox/host/"),
    ("\"wit_component/", "\"triggerbox/"),
    ("\"go.bytecodealliance.org/pkg/wit/", "\"triggerbox/wit/"),
];

pub(crate) fn build(project: &Project, workshop: &Workshop) -> Result<Vec<u8>, Error> {
    let tool = workshop.install(&GO)?;
    let library = project.library()?;
    let scratch = workshop.scratch()?.to_owned();
    let contract = project.contract()?;
    let generated = scratch.join("generated");
    bindings::go(&contract, &generated)?;

    let module = scratch.join("module");
    copy(library, &module)?;
    copy(&project.folder, &module.join("script"))?;
    let main = module.join("main");
    fs::create_dir_all(&main).doing("make", &main)?;
    renamed(&generated.join("wit_exports.go"), &main.join("main.go"))?;
    for package in entries(&generated)? {
        let name = package.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(name) = name.strip_prefix("triggerbox_automation_") {
            let folder = module.join("host").join(name);
            fs::create_dir_all(&folder).doing("make", &folder)?;
            renamed(&package.join("wit_bindings.go"), &folder.join("bindings.go"))?;
        }
    }
    let go_mod = module.join("go.mod");
    fs::write(&go_mod, MODULE).doing("write", go_mod)?;

    let output = scratch.join("module.wasm");
    let root = tool.join("go");
    let mut command = Command::new(root.join("bin/go"));
    // The names of functions stay: a panic shows them. `checklinkname` is for the memory that the host asks for before Go has
    // started.
    command.args(["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w -checklinkname=0", "-o"]).arg(&output);
    command.arg("./main").current_dir(&module).env("GOROOT", root).env("GOCACHE", workshop.compiler_cache(&GO));
    command.env("GOPATH", scratch.join("path")).env("GOOS", "wasip1").env("GOARCH", "wasm");
    command.env("GOPROXY", "off").env("GOFLAGS", "-mod=mod").env("GOTOOLCHAIN", "local").env("GOWORK", "off");
    compile(&mut command, PYTHON_HINT)?;
    bindings::component_of(&contract, fs::read(&output).doing("read", output)?)
}

/// A generated file under the names of its packages here.
fn renamed(from: &Path, to: &Path) -> Result<(), Error> {
    let text = fs::read_to_string(from).doing("read", from)?;
    let text = PACKAGES.iter().fold(text, |text, (generated, here)| text.replace(generated, here));
    fs::write(to, text).doing("write", to)
}

/// The Go files below a folder, into another.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).doing("make", to)?;
    for path in entries(from)? {
        let name = path.file_name().unwrap_or_default();
        let hidden = name.to_string_lossy().starts_with('.') || name == "triggerbox-sdk";
        // Go follows no links to folders either.
        if path.is_dir() && !path.is_symlink() && !hidden {
            copy(&path, &to.join(name))?;
        } else if path.extension().is_some_and(|extension| extension == "go") {
            fs::copy(&path, to.join(name)).doing("copy", &path)?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<std::path::PathBuf>, Error> {
    let entries = fs::read_dir(folder).doing("read", folder)?;
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
}
