//! What `inspect` says about good components, wrong files and malicious ones.
use guest_artifacts as guests;
use triggerbox_sandbox::inspect::{ImportStatus, embed_manifest, full_name, inspect, manifest_of};

const MANIFEST: &str = "[script]\nname = \"order-note\"\nversion = \"1.0.0\"\n\n[limits]\nfuel = 1000000\n";

fn good() -> Vec<u8> {
    embed_manifest(guests::HIGH_VALUE_ORDER.component, MANIFEST).unwrap()
}

fn codes(bytes: &[u8]) -> Vec<&'static str> {
    inspect(bytes).problems.iter().map(|problem| problem.code).collect()
}

fn message(bytes: &[u8]) -> String {
    let inspection = inspect(bytes);
    assert!(!inspection.ok);
    inspection.problems[0].message.clone()
}

#[test]
fn a_good_script_shows_what_it_is() {
    let inspection = inspect(&good());
    assert!(inspection.ok, "{:?}", inspection.problems);
    assert_eq!(inspection.exports, ["run"]);
    assert!(inspection.imports.iter().all(|import| import.status == ImportStatus::Offered), "{:?}", inspection.imports);
    assert!(inspection.imports.iter().any(|import| import.name == full_name("records")));
    assert!(inspection.toolchain.iter().any(|tool| tool.name == "Rust"), "{:?}", inspection.toolchain);
    assert!(inspection.names);
    assert_eq!(inspection.manifest.unwrap().script.name, "order-note");
}

#[test]
fn the_report_keeps_its_shape() {
    let json = serde_json::to_value(inspect(&good())).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let shape = [
        "ok",
        "size",
        "hash",
        "problems",
        "warnings",
        "imports",
        "exports",
        "toolchain",
        "debug_info",
        "names",
        "manifest",
    ];
    assert_eq!(keys, shape);
    assert_eq!(json["hash"].as_str().unwrap().len(), 64);
}

#[test]
fn every_script_of_the_repository_fits_the_contract() {
    for guest in guests::EXAMPLES.iter().chain(guests::MISBEHAVING) {
        let inspection = inspect(guest.component);
        assert_eq!(inspection.refusal(), None, "{}", guest.name);
    }
}

#[test]
fn other_files_are_named_for_what_they_are() {
    let module = wat::parse_str("(module)").unwrap();
    let cases: &[(&[u8], &str)] = &[
        (b"", "the file is empty"),
        (&module, "core WebAssembly module, not a component"),
        (b"\0as", "cut off"),
        (b"\0asm\x0e\0\x01\0", "version 14 of layer 1"),
        (b"PK\x03\x04rest", "a zip archive"),
        (b"\x7fELF\x02\x01", "a native program"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"MZ\x90\0", "Windows program"),
        (b"\xcf\xfa\xed\xfe", "Mach-O"),
        (b"  ;; text\n(component)", "WebAssembly text"),
        (b"(module)", "WebAssembly text"),
        (b"<!DOCTYPE HTML><p>404", "an HTML page"),
        (b"def run(event): pass", "a text file"),
        (b"\xff\xfe\x00\x01", "unknown data"),
        (b"\n \n", "white space"),
    ];
    for (bytes, expected) in cases {
        let message = message(bytes);
        assert!(message.contains(expected), "{expected}: {message}");
        assert_eq!(codes(bytes), ["not-a-component"]);
    }
}

#[test]
fn too_large_a_file_is_refused_by_its_size() {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    bytes.resize(500 << 20, 0);
    assert_eq!(message(&bytes), "the component is larger than 64 MiB, the most that is accepted");
    assert!(message(&vec![b'x'; 500 << 20]).contains("a text file"));
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused() {
    let good = good();
    for length in (0..good.len()).step_by(good.len() / 200) {
        let inspection = inspect(&good[..length]);
        assert!(!inspection.ok || inspection.manifest.is_none(), "cut after {length} bytes");
    }
    let half = &good[..good.len() / 2];
    assert_eq!(codes(half), ["truncated"], "{}", message(half));
}

#[test]
fn flipped_bytes_never_panic() {
    let good = good();
    for at in (0..good.len()).step_by(97) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        let _ = inspect(&bytes);
    }
}

#[test]
fn a_component_without_the_contracts_run_is_told_so() {
    let component = wat::parse_str("(component)").unwrap();
    assert_eq!(codes(&component), ["no-run", "no-manifest"]);
    let component = wat::parse_str(
        r#"(component
            (core module $m (func (export "run")))
            (core instance $i (instantiate $m))
            (func $run (canon lift (core func $i "run")))
            (export "run" (func $run)))"#,
    )
    .unwrap();
    assert_eq!(codes(&component), ["wrong-run", "no-manifest"]);
}

#[test]
fn missing_imports_are_named_with_the_nearest_that_there_is() {
    let import = |name: &str| {
        let component = wat::parse_str(format!(r#"(component (import "{name}" (instance)))"#)).unwrap();
        let inspection = inspect(&component);
        (inspection.imports[0].status, inspection.imports[0].note.clone().unwrap_or_default())
    };
    assert_eq!(import("wasi:io/poll@0.2.0").0, ImportStatus::Offered);
    assert_eq!(import("wasi:io/poll@0.2.99").0, ImportStatus::Offered);
    assert_eq!(import("wasi:sockets/tcp@0.2.3").0, ImportStatus::Denied);
    assert_eq!(import("wasi:io/poll@0.3.0").1, "imports `wasi:io/poll@0.3.0`; this host offers `wasi:io/poll@0.2.12`");
    assert!(import("wasi:http/types@0.2.0").1.contains(&format!("through `{}`", full_name("http"))));
    assert_eq!(
        import("triggerbox:automation/records@0.2.0").1,
        format!("imports `triggerbox:automation/records@0.2.0`; this host offers `{}`", full_name("records"))
    );
    assert!(import("wasi:io/pol@0.2.0").1.ends_with("the nearest is `wasi:io/poll@0.2.12`"));
    assert!(import("acme:billing/invoices@1.0.0").1.ends_with("which this host does not offer"));
}

#[test]
fn a_function_that_an_interface_does_not_have_is_named() {
    let component = wat::parse_str(
        r#"(component (import "triggerbox:automation/budget@0.1.0" (instance (export "refill" (func)))))"#,
    )
    .unwrap();
    assert_eq!(
        inspect(&component).imports[0].note.as_deref(),
        Some("imports `refill` of `triggerbox:automation/budget@0.1.0`, which this host's version of it does not have")
    );
}

#[test]
fn a_component_that_was_built_for_an_older_version_of_the_contract_is_offered_all_of_it() {
    let inspection = inspect(guests::FIRST_CONTRACT.component);
    assert_eq!(inspection.refusal(), None);
    let own: Vec<_> = inspection.imports.iter().filter(|import| import.name.starts_with("triggerbox:")).collect();
    assert!(own.iter().all(|import| import.name.ends_with("@0.1.0")), "{own:?}");
    assert!(own.iter().all(|import| import.status == ImportStatus::Offered), "{own:?}");
    assert!(own.iter().any(|import| import.functions == ["fields-get"]), "{own:?}");
}

#[test]
fn a_component_of_a_newer_version_of_the_contract_is_not_offered_it() {
    let name = "triggerbox:automation/budget@0.1.99";
    let component = wat::parse_str(format!(r#"(component (import "{name}" (instance)))"#)).unwrap();
    let inspection = inspect(&component);
    let import = &inspection.imports[0];
    assert_eq!(import.status, ImportStatus::Missing);
    assert_eq!(import.note, Some(format!("imports `{name}`; this host offers `{}`", full_name("budget"))));
}

#[test]
fn files_and_network_are_warned_about() {
    let component = wat::parse_str(r#"(component (import "wasi:filesystem/types@0.2.0" (instance)))"#).unwrap();
    let inspection = inspect(&component);
    assert_eq!(inspection.warnings[0].code, "denied-import");
}

#[test]
fn there_is_exactly_one_manifest_at_the_top() {
    let section = |component: &[u8], data: &[u8]| {
        use wasm_encoder::{ComponentSection, CustomSection};
        let mut bytes = component.to_vec();
        CustomSection { name: "triggerbox:manifest".into(), data: data.into() }.append_to_component(&mut bytes);
        bytes
    };
    let bare = guests::HIGH_VALUE_ORDER.component;
    assert_eq!(codes(bare), ["no-manifest"]);
    assert_eq!(codes(&section(bare, MANIFEST.as_bytes())), Vec::<&str>::new());
    assert_eq!(codes(&section(&section(bare, MANIFEST.as_bytes()), MANIFEST.as_bytes())), ["duplicate-manifest"]);
    assert_eq!(codes(&section(bare, b"[script]\nname = 7")), ["invalid-manifest"]);
    assert_eq!(codes(&section(bare, b"\xff\xff")), ["invalid-manifest"]);
    // In a nested component it is not the script's own.
    let mut nested = wasm_encoder::Component::new();
    let inner = section(&wasm_encoder::Component::new().finish(), MANIFEST.as_bytes());
    nested.section(&wasm_encoder::RawSection { id: 4, data: &inner });
    assert!(codes(&nested.finish()).contains(&"nested-manifest"));
}

#[test]
fn embedding_replaces_the_manifest_that_was_there() {
    let second = MANIFEST.replace("1.0.0", "2.0.0");
    let bytes = embed_manifest(&good(), &second).unwrap();
    let inspection = inspect(&bytes);
    assert!(inspection.ok, "{:?}", inspection.problems);
    assert_eq!(inspection.manifest.unwrap().script.version, "2.0.0");
    assert_eq!(bytes.len(), good().len());
    assert_eq!(manifest_of(&bytes).unwrap().script.version, "2.0.0");
    assert_eq!(manifest_of(guests::HIGH_VALUE_ORDER.component).unwrap_err().code, "no-manifest");
    assert!(embed_manifest(b"\x7fELF", MANIFEST).unwrap_err().to_string().contains("native program"));
    assert!(embed_manifest(&good(), "nonsense").is_err());
    assert!(embed_manifest(&good()[..1000], MANIFEST).unwrap_err().to_string().contains("cut off"));
}

#[test]
fn malicious_components_are_refused_in_time() {
    use wasm_encoder::{Component, RawSection};
    let begin = std::time::Instant::now();

    // Ten thousand components in each other.
    let mut nested = Component::new().finish();
    for _ in 0..10_000 {
        let mut outer = Component::new();
        outer.section(&RawSection { id: 4, data: &nested });
        nested = outer.finish();
    }
    assert_eq!(codes(&nested), ["too-complex"]);

    // A million sections.
    let mut many = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..1_000_000 {
        many.extend_from_slice(&[0, 2, 1, b'x']);
    }
    assert_eq!(codes(&many), ["too-complex"]);

    // Types that double in size with each line.
    let mut lines = String::from("(component (type $t0 (tuple u32 u32))");
    for line in 1..64 {
        lines += &format!("(type $t{line} (tuple $t{} $t{}))", line - 1, line - 1);
    }
    assert_eq!(codes(&wat::parse_str(lines + ")").unwrap()), ["invalid-component"]);

    // Component types in component types, a thousand deep.
    let mut deep = b"\0asm\x0d\0\x01\0".to_vec();
    let mut body = vec![1];
    body.extend([0x41, 1, 1].repeat(1_000));
    body.extend([0x41, 0]);
    deep.push(7);
    deep.extend([body.len() as u8 & 0x7f | 0x80, (body.len() >> 7) as u8]);
    deep.extend(body);
    assert_eq!(codes(&deep), ["invalid-component"], "{}", message(&deep));

    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}
