//! Says what a file is that is not a component.

use super::MAX_BYTES;

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// First bytes of files that people upload by mistake.
const KINDS: &[(&[u8], &str)] = &[
    (b"PK\x03\x04", "a zip archive: unpack it and take the `.wasm` inside"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "a gzip file: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd file: unpack it first"),
    (b"BZh", "a bzip2 file: unpack it first"),
    (b"\xfd7zXZ\0", "an xz file: unpack it first"),
    (b"\x7fELF", "a native program or an already compiled artefact (ELF): upload the component that it was made from"),
    (b"\xfe\xed\xfa\xce", "a native program (Mach-O): compile for wasm32-wasip2"),
    (b"\xfe\xed\xfa\xcf", "a native program (Mach-O): compile for wasm32-wasip2"),
    (b"\xce\xfa\xed\xfe", "a native program (Mach-O): compile for wasm32-wasip2"),
    (b"\xcf\xfa\xed\xfe", "a native program (Mach-O): compile for wasm32-wasip2"),
    (b"\xca\xfe\xba\xbe", "a native program (Mach-O) or a Java class: compile for wasm32-wasip2"),
    (b"MZ", "a Windows program: compile for wasm32-wasip2"),
    (b"!<arch>", "a static library: compile as `cdylib`"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture"),
    (b"SQLite format 3\0", "a SQLite database"),
    (b"#!", "a shell script"),
    (b"BC\xc0\xde", "LLVM bitcode: link it first"),
];

/// What is wrong with the file's kind, or none for what begins like a component.
pub(super) fn problem(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return Some("the file is empty (0 bytes)".to_owned());
    }
    if bytes.starts_with(COMPONENT) && bytes.len() > MAX_BYTES {
        // Whoever reads the file may stop here: how much more there is says nothing.
        return Some(format!("the component is larger than {} MiB, the most that is accepted", MAX_BYTES >> 20));
    }
    if bytes.starts_with(COMPONENT) {
        return None;
    }
    if bytes.starts_with(CORE_MODULE) {
        return Some(
            "this is a core WebAssembly module, not a component; compile for wasm32-wasip2, or wrap it with \
             `wasm-tools component new`"
                .to_owned(),
        );
    }
    if COMPONENT.starts_with(bytes) {
        return Some(format!("the file ends after {} bytes: it was cut off", bytes.len()));
    }
    if let Some([a, b, c, d]) = bytes.strip_prefix(b"\0asm").and_then(|rest| rest.first_chunk()) {
        let version = u16::from_le_bytes([*a, *b]);
        let layer = u16::from_le_bytes([*c, *d]);
        return Some(format!(
            "this WebAssembly file has version {version} of layer {layer}, which this host does not know; a component \
             has version 13 of layer 1"
        ));
    }
    if let Some((_, kind)) = KINDS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(format!("not a WebAssembly component but {kind}"));
    }
    Some(format!("not a WebAssembly component but {}", text_or_data(bytes)))
}

/// Tells texts apart by their first kilobytes.
fn text_or_data(bytes: &[u8]) -> String {
    let head = bytes.get(..4096).unwrap_or(bytes);
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The cut at 4096 may go through a character.
        Err(error) if error.error_len().is_none() => {
            head.get(..error.valid_up_to()).and_then(|head| std::str::from_utf8(head).ok()).unwrap_or_default()
        }
        Err(_) => return "unknown data".to_owned(),
    };
    if text.contains('\0') {
        return "unknown data".to_owned();
    }
    let start = text.trim_start_matches('\u{feff}').trim_start();
    // WebAssembly text may begin with comments.
    let code = start.lines().map(str::trim_start).find(|line| !line.is_empty() && !line.starts_with(";;"));
    let lower: String = start.chars().take(15).collect::<String>().to_lowercase();
    if code.is_some_and(|line| line.starts_with("(module") || line.starts_with("(component")) {
        "WebAssembly text: turn it into binary with `wasm-tools parse`".to_owned()
    } else if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        "an HTML page: the download was probably an error page".to_owned()
    } else if start.starts_with("version https://git-lfs") {
        "a Git LFS pointer: fetch the file itself with `git lfs pull`".to_owned()
    } else if start.is_empty() {
        "white space".to_owned()
    } else {
        "a text file: compile the script first (`triggerbox build`)".to_owned()
    }
}
