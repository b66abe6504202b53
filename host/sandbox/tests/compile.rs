//! Compiling uploads in a child process, and keeping what came of it.
use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use guest_artifacts as guests;
use triggerbox_sandbox::{Cache, Compiler, ContentHash, Ending, Script, ScriptError, compile::Bounds};

use crate::support::{Memory, event, limits, sandbox};

const SCRIPT: &[u8] = guests::HIGH_VALUE_ORDER.component;

fn compiler(argument: &str) -> Compiler {
    Compiler::new(env!("CARGO_BIN_EXE_sandbox-compile-child"), [argument.into()])
}

async fn works(script: &Script) {
    let run = script.run(event(), limits(&[]), Box::new(Memory::default())).await;
    assert!(matches!(run.ending, Ending::Done(_)), "{:?}", run.ending);
}

/// A cache in a folder of its own, and its one file.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn cache(&self) -> Cache {
        Cache::open(&self.folder.path().join("cache"), &self.folder.path().join("key")).unwrap()
    }

    fn file(&self) -> std::path::PathBuf {
        let mut files = fs::read_dir(self.folder.path().join("cache")).unwrap().map(|entry| entry.unwrap().path());
        let file = files.next().expect("one artefact");
        assert_eq!(files.next(), None, "no unfinished file is left");
        file
    }
}

#[tokio::test]
async fn an_upload_is_compiled_once_and_then_loaded() {
    let place = Place::new();
    works(&sandbox().prepare(SCRIPT, Some(&place.cache()), &compiler("")).await.unwrap()).await;
    // Another opening of the same folder; a compiler that would fail is not asked.
    let script = sandbox().prepare(SCRIPT, Some(&place.cache()), &compiler("crash")).await.unwrap();
    works(&script).await;
}

#[tokio::test]
async fn a_script_carries_its_manifest() {
    let manifest = guests::HIGH_VALUE_ORDER.manifest.unwrap();
    let component = triggerbox_sandbox::inspect::embed_manifest(SCRIPT, manifest).unwrap();
    let place = Place::new();
    for compiler in [compiler(""), compiler("crash")] {
        let script = sandbox().prepare(&component, Some(&place.cache()), &compiler).await.unwrap();
        assert_eq!(script.manifest().unwrap().script.name, "high-value-order");
    }
    assert!(sandbox().compile(SCRIPT).unwrap().manifest().is_none());
}

#[tokio::test]
async fn a_tampered_cut_or_foreign_artefact_is_compiled_again() {
    let place = Place::new();
    let cache = place.cache();
    let prepare = async || sandbox().prepare(SCRIPT, Some(&cache), &compiler("")).await.unwrap();
    prepare().await;
    let file = place.file();
    let good = fs::read(&file).unwrap();

    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    for at in [0, 7, 8, 39, 40, good.len() / 2, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        cases.push((format!("byte {at} flipped"), bytes));
    }
    for length in [0, 8, 39, 40, good.len() - 1] {
        cases.push((format!("cut to {length}"), good[..length].to_vec()));
    }
    // Another component's artefact of this very host, and one without a MAC of this host's key.
    let other = place.folder.path().join("other");
    let foreign = Cache::open(&other, &place.folder.path().join("other-key")).unwrap();
    sandbox().prepare(SCRIPT, Some(&foreign), &compiler("")).await.unwrap();
    cases
        .push(("another key".into(), fs::read(fs::read_dir(&other).unwrap().next().unwrap().unwrap().path()).unwrap()));
    sandbox().prepare(guests::ENDLESS_LOOP.component, Some(&cache), &compiler("")).await.unwrap();
    let endless =
        fs::read_dir(place.folder.path().join("cache")).unwrap().map(|e| e.unwrap().path()).find(|p| *p != file);
    let endless = endless.unwrap();
    cases.push(("another component's".into(), fs::read(&endless).unwrap()));
    fs::remove_file(endless).unwrap();
    // What another engine made, with this host's own MAC, under the name of this one's.
    cache.store(ContentHash::of(SCRIPT), "another-engine", &good[40..]).unwrap();
    let of_another = fs::read_dir(place.folder.path().join("cache")).unwrap().map(|e| e.unwrap().path());
    let of_another = of_another.into_iter().find(|path| path.to_string_lossy().contains("another-engine")).unwrap();
    cases.push(("another engine's".into(), fs::read(&of_another).unwrap()));
    fs::remove_file(of_another).unwrap();

    for (what, bytes) in cases {
        fs::write(&file, &bytes).unwrap();
        assert!(sandbox().cached(SCRIPT, &cache).is_none(), "{what} was loaded");
    }
    works(&prepare().await).await;
    assert_eq!(fs::read(place.file()).unwrap(), good, "it was compiled and kept again");
}

#[test]
fn the_key_is_private_and_lies_elsewhere() {
    let place = Place::new();
    place.cache();
    let key = place.folder.path().join("key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read(&key).unwrap().len(), 32);

    let open = |key: &Path| Cache::open(&place.folder.path().join("cache"), key).err().unwrap().to_string();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(open(&key).contains("chmod 600"), "{}", open(&key));
    fs::write(&key, "short").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(open(&key).contains("32 bytes"));
    assert!(open(&place.folder.path().join("cache/key")).contains("inside the cache folder"));
}

#[tokio::test]
async fn what_is_no_script_never_reaches_the_compiler() {
    let core = wat::parse_str("(module)").unwrap();
    let error = sandbox().prepare(&core, None, &compiler("crash")).await.unwrap_err();
    assert!(matches!(&error, ScriptError::Refused(text) if text.contains("core WebAssembly module")), "{error}");
}

#[tokio::test]
async fn a_component_that_does_not_compile_says_why() {
    let bad = wat::parse_str("(component (core module (memory i64 1)))").unwrap();
    let error = compiler("").compile(&bad).await.unwrap_err().to_string();
    assert!(error.contains("64-bit") || error.contains("memory64"), "{error}");
}

#[tokio::test]
async fn a_compiler_that_hangs_swells_chatters_or_crashes_is_ended() {
    let ends = async |argument: &str, bounds: Bounds| {
        let mut compiler = compiler(argument);
        compiler.bounds = bounds;
        let begin = std::time::Instant::now();
        let error = compiler.compile(SCRIPT).await.unwrap_err().to_string();
        assert!(begin.elapsed() < Duration::from_secs(20), "{error}");
        error
    };
    let usual = Bounds::default();
    let hangs = ends("hang", Bounds { wall: Duration::from_millis(300), ..usual }).await;
    assert_eq!(hangs, "compiling the component needs more than 0.3 s");
    let swells = ends("", Bounds { memory: 24 << 20, ..usual }).await;
    assert!(swells.contains("memory"), "{swells}");
    let chatters = ends("chatter", Bounds { output: 1 << 20, ..usual }).await;
    assert_eq!(chatters, "compiling the component needs more than 1 MiB for its code");
    let computes = {
        let function =
            "(func (param i64) (result i64) local.get 0 local.get 0 i64.mul local.get 0 i64.rotl i64.popcnt)";
        let large = wat::parse_str(format!("(component (core module {}))", function.repeat(100_000))).unwrap();
        let mut compiler = compiler("");
        compiler.bounds = Bounds { cpu: 1, ..usual };
        compiler.compile(&large).await.unwrap_err().to_string()
    };
    assert_eq!(computes, "compiling the component needs more than 1 s of processor time");
    let crashes = ends("crash", usual).await;
    assert!(crashes.contains("signal 6"), "{crashes}");
}

#[tokio::test]
async fn what_was_not_loaded_for_the_longest_time_makes_room() {
    let place = Place::new();
    let cache = place.cache();
    works(&sandbox().prepare(SCRIPT, Some(&cache), &compiler("")).await.unwrap()).await;
    let (size, script) = (fs::metadata(place.file()).unwrap().len(), place.file());
    let script = script.file_name().unwrap().to_string_lossy().into_owned();
    let small = place.cache().largest(size + 2_500);
    let folder = place.folder.path().join("cache");
    // As if each had been made an hour after the one before, long ago; the first of all was cut off.
    let old = |name: &str, hours: u64| {
        let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(hours * 3_600);
        fs::File::options().append(true).open(folder.join(name)).unwrap().set_modified(long_ago).unwrap();
    };
    fs::write(folder.join("cut-off.cwasm.0.new"), [0; 1_000]).unwrap();
    old("cut-off.cwasm.0.new", 1);
    old(&script, 2);
    let others: Vec<_> = (0..3_u8).map(|at| ContentHash::of(&[at])).collect();
    for (hours, other) in (3..).zip(&others[..2]) {
        cache.store(*other, "engine", &[7; 1_000]).unwrap();
        old(&format!("{other}-engine.cwasm"), hours);
    }
    sandbox().cached(SCRIPT, &cache).expect("it is loaded, and with that the newest");
    fs::write(folder.join("not-ours.txt"), [0; 9_000]).unwrap();
    small.store(others[2], "engine", &[7; 1_000]).unwrap();
    let there = |name: String| folder.join(name).exists();
    assert!(!there("cut-off.cwasm.0.new".to_owned()) && there("not-ours.txt".to_owned()));
    let kept = others.iter().map(|other| there(format!("{other}-engine.cwasm")));
    assert_eq!(kept.collect::<Vec<_>>(), [false, true, true], "there is room for two besides what was loaded");
    sandbox().cached(SCRIPT, &cache).expect("it was loaded last");
    place.cache().largest(1_500).store(others[2], "engine", &[8; 1_000]).unwrap();
    assert!(sandbox().cached(SCRIPT, &cache).is_none() && there(format!("{}-engine.cwasm", others[2])));
}

/// Prints what loading costs; the bound is generous, for machines that are busy.
#[tokio::test]
async fn a_cached_script_loads_fast() {
    let place = Place::new();
    let cache = place.cache();
    sandbox().prepare(SCRIPT, Some(&cache), &compiler("")).await.unwrap();
    let mut times: Vec<_> = (0..20)
        .map(|_| {
            let begin = std::time::Instant::now();
            sandbox().cached(SCRIPT, &cache).expect("it is in the cache");
            begin.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[0] < Duration::from_millis(50), "{times:?}");
}
