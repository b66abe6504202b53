//! The program where its output is not the point: what it writes, and what others make of that.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::Path};

use snapbox::cmd::{Command, cargo_bin};
use triggerbox_store::db::{Database, Mode};

fn triggerbox(folder: &Path) -> Command {
    let program = Command::new(cargo_bin!("triggerbox")).current_dir(folder);
    program.env("TRIGGERBOX_CACHE", folder.join("cache")).env_remove("TRIGGERBOX_DB")
}

#[test]
fn the_reference_page_is_what_the_program_says() {
    let output = triggerbox(Path::new(".")).arg("__markdown-help").output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    snapbox::assert_data_eq!(page, snapbox::file!["../../docs/reference/command-line.md"].raw());
}

// Shows: F094
#[test]
fn a_new_script_builds_passes_its_tests_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let target = crate::scripts_target();
    let run = |arguments: &[&str]| {
        let output = triggerbox(folder.path()).args(arguments).env("CARGO_TARGET_DIR", &target).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["new", "big-deals"]);
    assert!(run(&["build", "big-deals"]).starts_with("built big-deals 0.1.0: big-deals/big-deals.wasm ("));
    let tested = run(&["test", "big-deals/big-deals.wasm"]);
    assert!(tested.contains("ok      large-lead"), "{tested}");
    assert!(run(&["check", "big-deals/big-deals.wasm"]).starts_with("big-deals/big-deals.wasm ok\n"));
    let report = run(&["run", "big-deals/big-deals.wasm", "--model", "crm.lead", "--ids", "1", "--dry-run"]);
    assert!(report.contains("leads noted"), "{report}");
    run(&["db", "demo", "crm.db"]);
    {
        // Whoever only shows what would change does so beside the one who changes.
        let _held = Database::open(&folder.path().join("crm.db"), Mode::Write).unwrap();
        let dry =
            ["run", "big-deals/big-deals.wasm", "--model", "crm.lead", "--ids", "1", "--db", "crm.db", "--dry-run"];
        assert!(run(&dry).contains("leads noted"));
        triggerbox(folder.path()).args(&dry[..dry.len() - 1]).assert().failure();
    }
    run(&["scripts", "upload", "big-deals/big-deals.wasm", "--db", "crm.db"]);
    run(&["rules", "apply", "big-deals/rules", "--db", "crm.db"]);
    let standing = run(&["rules", "diagnose", "big-deals", "--db", "crm.db"]);
    assert!(standing.starts_with("nothing-in-the-way"), "{standing}");
    let own_tests = Command::new("cargo").args(["test", "--quiet"]).current_dir(folder.path().join("big-deals"));
    own_tests.env("CARGO_TARGET_DIR", &target).assert().success();
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let folder = tempfile::tempdir().unwrap();
    let plain = triggerbox(folder.path()).args(["check", "missing.wasm"]).output().unwrap().stderr;
    assert!(plain.starts_with(b"error: "), "{}", String::from_utf8_lossy(&plain));
    // `script` of util-linux gives a command a terminal, and passes on what it writes there.
    let on_terminal = |unwanted: &[(&str, &str)]| {
        let command = format!("{} check missing.wasm", cargo_bin!("triggerbox").display());
        let terminal = Command::new("script").args(["--quiet", "--return", "--command", &command, "/dev/null"]);
        let terminal = terminal.current_dir(folder.path()).env("TERM", "xterm").env_remove("NO_COLOR").env_remove("CI");
        terminal.envs(unwanted.iter().copied()).output().unwrap().stdout
    };
    let coloured = on_terminal(&[]);
    assert!(coloured.contains(&0x1b), "{}", String::from_utf8_lossy(&coloured));
    assert!(!on_terminal(&[("NO_COLOR", "1")]).contains(&0x1b));
}

#[test]
fn a_database_goes_out_and_in_again_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let ok = |arguments: &[&str]| {
        let done = triggerbox(folder.path()).args(arguments).assert().success();
        String::from_utf8(done.get_output().stdout.clone()).unwrap()
    };
    ok(&["db", "demo", "crm.db"]);
    ok(&["db", "backup", "copy.db", "--db", "crm.db"]);
    ok(&["db", "restore", "copy.db", "--db", "restored.db"]);
    ok(&["db", "export", "data", "--db", "restored.db"]);
    ok(&["db", "import", "data", "--db", "imported.db"]);
    ok(&["db", "export", "again", "--db", "imported.db"]);
    for file in ["schema.json", "records.json", "rights_data.json"] {
        let read = |name: &str| fs::read_to_string(folder.path().join(name).join(file)).unwrap();
        assert_eq!(read("data"), read("again"), "{file}");
    }
    let shown = |name: &str| ok(&["db", "show", "crm.lead", "1", "--db", name]);
    assert_eq!(shown("crm.db"), shown("imported.db"));
    // A copy of before a change of the format.
    let old = rusqlite::Connection::open(folder.path().join("copy.db")).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    drop(old);
    ok(&["db", "backup", "older.db", "--db", "copy.db"]);
    ok(&["db", "restore", "older.db", "--db", "newer.db"]);
    assert_eq!(shown("crm.db"), shown("newer.db"));
    assert!(ok(&["db", "compact", "--db", "newer.db"]).starts_with("wrote anew newer.db: "));
    assert_eq!(shown("crm.db"), shown("newer.db"));
}

/// What is not text in UTF-8 is refused with the name of the file or argument, and nothing is made of it.
#[test]
fn what_is_not_utf8_is_refused_by_name() {
    const LATIN_1: &[u8] = b"name = \"caf\xe9\"\n";
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, LATIN_1).unwrap();
    };
    let refused = |arguments: &[&OsStr], named: &str| {
        let output = triggerbox(folder.path()).args(arguments).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(said.contains(named) && said.contains("UTF-8"), "{arguments:?}: {said}");
    };
    fn texts<'a>(arguments: &[&'a str]) -> Vec<&'a OsStr> {
        arguments.iter().map(|argument| OsStr::new(*argument)).collect()
    }
    triggerbox(folder.path()).args(["db", "demo", "crm.db"]).assert().success();
    let before = fs::read(folder.path().join("crm.db")).unwrap();

    write("script/triggerbox.toml");
    refused(&texts(&["build", "script"]), "script/triggerbox.toml");
    write("rules/first.toml");
    refused(&texts(&["rules", "apply", "rules", "--db", "crm.db"]), "rules/first.toml");
    write("server.toml");
    refused(&texts(&["serve", "--db", "crm.db", "--config", "server.toml"]), "server.toml");
    let mut search = texts(&["db", "search", "crm.lead", "--db", "crm.db"]);
    search.push(OsStr::from_bytes(b"[('name', '=', 'caf\xe9')]"));
    refused(&search, "argument");

    assert!(fs::read(folder.path().join("crm.db")).unwrap() == before, "the database changed");
}
