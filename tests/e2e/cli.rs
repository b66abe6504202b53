//! The program as its users call it. Commands and their output are data in `tests/e2e/cmd`; they run in a folder with
//! the files that they name: the example scripts, files that are no scripts, and databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, in its helpers too"
)]

use std::{fs, path::Path};

use guest_artifacts::EXAMPLES;
use triggerbox_sandbox::inspect::embed_manifest;
use triggerbox_store::db::Database;

/// When the databases were made; commands say it with `--now`.
const NOW: &str = "2026-11-20T09:30:00Z";

/// A folder with every file that a case may name.
fn lay_out(folder: &Path) {
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    for guest in EXAMPLES {
        if let Some(manifest) = guest.manifest {
            write(&format!("{}.wasm", guest.name), &embed_manifest(guest.component, manifest).unwrap());
        }
    }
    let component = EXAMPLES.iter().find(|guest| guest.name == "high-value-order").unwrap().component;
    write("no-manifest.wasm", component);
    write("cut-off.wasm", &component[..component.len() / 2]);
    write("core-module.wasm", b"\0asm\x01\0\0\0");
    write("empty.wasm", b"");
    write("text.wasm", b"fn main() {}\n");
    write("archive.wasm", b"PK\x03\x04 and more");
    write("program.wasm", b"\x7fELF\x02\x01\x01\0");
    // 500 MB, of which nothing is on the disk.
    let huge = fs::File::create(folder.join("huge.wasm")).unwrap();
    std::io::Write::write_all(&mut &huge, b"\0asm\x0d\0\x01\0").unwrap();
    huge.set_len(500_000_000).unwrap();
    for (name, script, more) in
        [("button", "high-value-order", ""), ("careful", "high-value-order", "mode = \"approve\"\n")]
    {
        let rule = format!(
            "name = \"{name}\"\nmodel = \"sale.order\"\n{more}[trigger]\non = \"manual\"\n[[actions]]\nscript = \"{script}\"\n\
             parameters = {{ threshold = \"100\" }}\n"
        );
        write(&format!("{name}.toml"), rule.as_bytes());
    }
    let report = "name = \"report\"\nmodel = \"sale.order\"\nactions = [{ script = \"high-value-order\" }]\n\
                  trigger = { on = \"schedule\", cron = \"0 9 1 1 *\", zone = \"Europe/Brussels\" }\n";
    write("report.toml", report.as_bytes());
    write("inquiry.json", b"{\"email\": \"ada@engines.example\", \"name\": \"Ada\", \"subject\": \"Looms\"}");
    // A script's folder of its own: scenarios beside a component are run by more than one command.
    fs::create_dir_all(folder.join("orders/scenarios")).unwrap();
    fs::copy(folder.join("high-value-order.wasm"), folder.join("orders/high-value-order.wasm")).unwrap();
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/e2e/scenarios")).unwrap() {
        let file = entry.unwrap().path();
        fs::copy(&file, folder.join("orders/scenarios").join(file.file_name().unwrap())).unwrap();
    }
    fs::create_dir_all(folder.join("passing/scenarios")).unwrap();
    fs::copy(folder.join("high-value-order.wasm"), folder.join("passing/high-value-order.wasm")).unwrap();
    fs::copy(folder.join("orders/scenarios/large.toml"), folder.join("passing/scenarios/large.toml")).unwrap();
    for name in ["run.db", "read.db", "kept.db", "runs.db"] {
        drop(Database::create_demo(&folder.join(name), NOW.parse().unwrap()).unwrap());
    }
    fs::write(folder.join("no.db"), "a text\n").unwrap();
}

// Shows: F078, F079, F080, F094
#[test]
fn commands_print_what_they_should() {
    let folder = tempfile::tempdir().unwrap();
    lay_out(folder.path());
    // Cases without a folder of their own run in this process's.
    std::env::set_current_dir(folder.path()).unwrap();
    let cases = trycmd::TestCases::new();
    cases.register_bin("triggerbox", trycmd::cargo::cargo_bin!("triggerbox"));
    cases.env("TRIGGERBOX_CACHE", folder.path().join("cache").to_string_lossy());
    cases.case(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/e2e/cmd/*.trycmd"));
    cases.run();
}
