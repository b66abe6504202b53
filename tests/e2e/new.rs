//! From nothing to a tested script: `triggerbox new`, `build` and `test` in every language.
use std::{
    path::Path,
    process::{Command, Output},
};

fn triggerbox(folder: &Path, args: &[&str]) -> String {
    let output = output(folder, args);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// What a command that has to fail says.
fn fails(folder: &Path, args: &[&str]) -> String {
    let output = output(folder, args);
    assert!(!output.status.success(), "{args:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn output(folder: &Path, args: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_triggerbox"));
    if std::env::var_os("TRIGGERBOX_TOOLS").is_none() {
        command.env("TRIGGERBOX_TOOLS", root.join("target/tools"));
    }
    // A compiler's own traces would hide what it says of the script.
    command.env("RUST_BACKTRACE", "1").current_dir(folder).args(args).output().unwrap()
}

fn builds(language: &str) {
    let place = tempfile::tempdir().unwrap();
    triggerbox(place.path(), &["new", "--lang", language, "first"]);
    let folder = place.path().join("first");
    triggerbox(&folder, &["build"]);
    triggerbox(&folder, &["check", "--no-compile", "--deny", "warnings", "first.wasm"]);
    assert!(folder.join("triggerbox-sdk/wit/automation.wit").exists());
}

fn builds_and_passes_its_test(language: &str) {
    let place = tempfile::tempdir().unwrap();
    triggerbox(place.path(), &["new", "--lang", language, "first"]);
    let folder = place.path().join("first");
    triggerbox(&folder, &["build"]);
    let said = triggerbox(&folder, &["test", "first.wasm"]);
    assert!(said.contains("ok      large-lead"), "{said}");
    let nowhere = output(&folder, &["run", "first.wasm"]);
    let said = String::from_utf8_lossy(&nowhere.stdout);
    assert!(nowhere.status.code() == Some(1) && said.contains("this rule is bound to no model"), "{said}");
    triggerbox(&folder, &["check", "--no-compile", "--deny", "warnings", "first.wasm"]);
    assert!(std::fs::read_to_string(folder.join("README.md")).unwrap().contains("triggerbox test"));
    assert!(folder.join("triggerbox-sdk/wit/automation.wit").exists());
}

/// Its test is run as the examples' are: compiling two of these at once would take longer than one may.
#[test]
fn a_new_python_script_builds() {
    builds("python");
}

#[test]
fn a_new_server_action_builds_and_passes_its_test() {
    let place = tempfile::tempdir().unwrap();
    triggerbox(place.path(), &["new", "--lang", "server-action", "first"]);
    let folder = place.path().join("first");
    triggerbox(&folder, &["test"]);
    // What it may not say is said when it is built.
    std::fs::write(folder.join("action.py"), "import os\n").unwrap();
    let error = fails(&folder, &["build"]);
    assert!(error.contains("line 1: there is no import"), "{error}");
    assert!(!error.to_lowercase().contains("stack backtrace"), "{error}");
}

#[test]
fn a_new_typescript_script_builds_and_passes_its_test() {
    builds_and_passes_its_test("typescript");
}

#[test]
fn a_new_javascript_script_builds_and_passes_its_test() {
    builds_and_passes_its_test("javascript");
}

#[test]
fn a_new_c_script_builds_and_passes_its_test() {
    builds_and_passes_its_test("c");
}

#[test]
fn a_new_go_script_builds_and_passes_its_test() {
    builds_and_passes_its_test("go");
}

#[test]
fn a_new_zig_script_builds_and_passes_its_test() {
    builds_and_passes_its_test("zig");
}

#[test]
fn a_new_cpp_script_builds_and_passes_its_test() {
    builds_and_passes_its_test("cpp");
}

/// Those of Python are played out of the component that all its examples share: `languages.rs`.
// Shows: F078, F092
#[test]
fn the_scenarios_of_the_typescript_examples_pass() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-examples").canonicalize().unwrap();
    let place = tempfile::tempdir().unwrap();
    for name in ["contact-upsert", "data-quality", "high-value-order", "lead-scoring", "order-stock-check"] {
        let folder = examples.join("typescript").join(name);
        let component = format!("{name}.wasm");
        triggerbox(place.path(), &["build", &folder.to_string_lossy(), "--output", &component]);
        let scenarios = folder.join("scenarios");
        let mut arguments = vec!["test", &component, "--scenarios", scenarios.to_str().unwrap()];
        // As other golden files.
        if std::env::var_os("SNAPSHOTS").is_some_and(|how| how == "overwrite") {
            arguments.push("--bless");
        }
        triggerbox(place.path(), &arguments);
    }
}
