//! C and C++, by the Clang inside Zig: it brings a C library for WASI, so nothing else need be installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Error, Language, Project, Workshop, bindings, error::Doing, process::compile, versions::ZIG, workshop::PYTHON_HINT,
};

/// The stack: Zig's own 16 MiB would be memory of each run.
pub(crate) const STACK: &str = "262144";

/// Sizes matter more than speed: scripts spend their time in host calls. The stack is [`STACK`]. Zig would take `assert` out of
/// what is optimised.
const OPTIONS: &[&str] = &["-target", "wasm32-wasi", "-Os", "-UNDEBUG", "-Wall", "-Wextra"];
const LINK: &[&str] = &["-mexec-model=reactor", "-Wl,--no-entry", "-Wl,-z,stack-size=262144", "-Wl,--strip-debug"];

/// The bindings free what a script returns. The library never frees, so that scripts may return texts that were never
/// allocated; its function of this name does nothing.
const KEEP: &str = "-Dfree=triggerbox_keep";

pub(crate) fn build(project: &Project, workshop: &Workshop) -> Result<Vec<u8>, Error> {
    let zig = Zig::new(workshop)?;
    let scratch = workshop.scratch()?.to_owned();
    bindings::c(&project.contract()?, &scratch)?;
    // The bindings are C in any case, and free of our warnings.
    let object = object(&zig, &scratch)?;
    let library = project.library()?;
    let mut objects = Vec::new();
    for source in sources(library, "c")? {
        let object = scratch.join("library").with_extension(format!("{}.o", objects.len()));
        let mut part = zig.command("cc");
        part.args(OPTIONS).arg("-I").arg(&scratch).arg("-c").arg(&source).arg("-o").arg(&object);
        compile(&mut part, PYTHON_HINT)?;
        objects.push(object);
    }

    let (compiler, extension) = match project.language {
        Language::Cpp => ("c++", "cpp"),
        _ => ("cc", "c"),
    };
    let module = scratch.join("module.wasm");
    let mut command = zig.command(compiler);
    command.args(OPTIONS).args(LINK).arg("-I").arg(&scratch);
    if project.language == Language::Cpp {
        // Leaving out what is empty is the library's habit, in braces too.
        command.args(["-std=c++23", "-fno-exceptions", "-fno-rtti", "-Wno-missing-designated-field-initializers"]);
    }
    command.arg("-I").arg(library).args(sources(&project.folder, extension)?).arg(&object).args(objects);
    command.arg(scratch.join("automation_component_type.o")).arg("-o").arg(&module);
    compile(&mut command, PYTHON_HINT)?;
    bindings::component(&fs::read(&module).doing("read", module)?)
}

/// The bindings as an object file.
pub(crate) fn object(zig: &Zig, scratch: &Path) -> Result<PathBuf, Error> {
    let object = scratch.join("automation.o");
    let mut generated = zig.command("cc");
    generated.args(["-target", "wasm32-wasi", "-Os", "-w", KEEP, "-c"]).arg(scratch.join("automation.c"));
    compile(generated.arg("-o").arg(&object), PYTHON_HINT)?;
    Ok(object)
}

/// The files of a folder with an extension, in order.
fn sources(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(folder).doing("read", folder)?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|other| other == extension));
    files.sort();
    Ok(files)
}

/// The Zig program.
pub(crate) struct Zig {
    program: PathBuf,
    cache: PathBuf,
}

impl Zig {
    pub(crate) fn new(workshop: &Workshop) -> Result<Self, Error> {
        let folder = workshop.install(&ZIG)?;
        Ok(Self { program: folder.join("ziglang/zig"), cache: workshop.compiler_cache(&ZIG) })
    }

    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        // Its C library is compiled once, not once for each script.
        command.arg(name).env("ZIG_GLOBAL_CACHE_DIR", &self.cache).env("ZIG_LOCAL_CACHE_DIR", &self.cache);
        command
    }
}
