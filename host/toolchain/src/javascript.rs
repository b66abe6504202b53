//! TypeScript and JavaScript: types checked, bundled into one module, and started once inside QuickJS, whose memory
//! becomes the component.

use std::{fs, process::Command};

use serde_json::json;

use crate::{
    Error, Language, Project, Workshop, bindings::WORLD, error::Doing, process::compile, versions::JAVASCRIPT,
    workshop::NODE_HINT,
};

/// What bundles and componentizes. It runs on the packages of the toolchain's folder.
const BUILD: &str = include_str!("javascript/build.mjs");

pub(crate) fn build(project: &Project, workshop: &Workshop) -> Result<Vec<u8>, Error> {
    let tool = workshop.install(&JAVASCRIPT)?;
    let library = project.library()?;
    let scratch = workshop.scratch()?;
    if project.language == Language::TypeScript {
        let config = scratch.join("tsconfig.json");
        fs::write(&config, types(project)?.to_string()).doing("write", &config)?;
        let mut check = Command::new("node");
        check.arg(tool.join("node_modules/typescript/bin/tsc")).arg("--project").arg(&config);
        compile(check.current_dir(&project.folder), NODE_HINT)?;
    }
    let wit = scratch.join("automation.wit");
    fs::write(&wit, project.contract()?).doing("write", &wit)?;
    let component = scratch.join("component.wasm");
    let order = json!({
        "tool": tool, "script": project.entry(), "library": library, "wit": wit, "world": WORLD, "output": component,
    });
    let program = scratch.join("build.mjs");
    fs::write(&program, BUILD).doing("write", &program)?;
    let mut command = Command::new("node");
    compile(command.arg(&program).arg(order.to_string()).current_dir(&project.folder), NODE_HINT)?;
    fs::read(&component).doing("read", &component)
}

/// How types are checked: the library's own settings, on the script and the library.
fn types(project: &Project) -> Result<serde_json::Value, Error> {
    let library = project.library()?;
    Ok(json!({
        "extends": library.join("tsconfig.json"),
        "compilerOptions": { "paths": { "triggerbox": [library.join("index.ts")] } },
        "files": [project.entry(), library.join("host.d.ts")],
        "include": [],
    }))
}
