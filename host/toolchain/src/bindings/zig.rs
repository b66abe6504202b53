//! Zig's view of the C bindings: the declarations of `automation.h`, in Zig.
//!
//! Zig can translate any header, which takes it a minute. This one has few shapes: structs, unions within them, numbers with
//! names, and functions.

use std::fmt::Write as _;

/// The declarations of a header that wit-bindgen wrote.
pub(crate) fn of_header(header: &str) -> String {
    let mut zig = String::from("//! The contract as its C bindings have it. Made from `automation.h`.\n\n");
    let mut lines = header.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    while let Some(line) = lines.next() {
        if line.starts_with("typedef struct") && line.ends_with('{') {
            zig.push_str(&structure(&mut lines));
        } else if let Some(alias) = line.strip_prefix("typedef ") {
            zig.push_str(&alias_of(alias));
        } else if let Some(constant) = line.strip_prefix("#define ") {
            zig.push_str(&number(constant));
        } else if line.contains('(') && line.ends_with(");") {
            zig.push_str(&function(line));
        }
    }
    zig
}

/// `typedef struct … { … } name;`
fn structure<'a>(lines: &mut impl Iterator<Item = &'a str>) -> String {
    let mut members = String::new();
    let mut union = None::<String>;
    for line in lines {
        match (line.strip_prefix('}'), &mut union) {
            (Some(name), Some(alternatives)) => {
                let name = name.trim_matches([' ', ';']);
                let _ = writeln!(members, "    {name}: extern union {{ {alternatives} }} = undefined,");
                union = None;
            }
            (Some(name), None) => {
                return format!("pub const {} = extern struct {{\n{members}}};\n", name.trim_matches([' ', ';']));
            }
            (None, Some(alternatives)) => {
                let (kind, name) = declared(line);
                let _ = write!(alternatives, "{}: {kind}, ", word(name));
            }
            (None, None) if line.starts_with("union") => union = Some(String::new()),
            (None, None) => {
                let (kind, name) = declared(line);
                let _ = writeln!(members, "    {}: {kind},", word(name));
            }
        }
    }
    String::new()
}

/// `uint8_t name;`
fn alias_of(alias: &str) -> String {
    let (kind, name) = declared(alias);
    format!("pub const {name} = {kind};\n")
}

/// `NAME 3`
fn number(constant: &str) -> String {
    match constant.split_once(' ') {
        Some((name, value)) if value.parse::<u32>().is_ok() => format!("pub const {name} = {value};\n"),
        _ => String::new(),
    }
}

/// `extern bool name(type *argument, …);`
fn function(line: &str) -> String {
    let line = line.strip_prefix("extern ").unwrap_or(line);
    let Some((head, arguments)) = line.trim_end_matches(");").split_once('(') else { return String::new() };
    let (result, name) = declared(head);
    let arguments: Vec<String> = arguments
        .split(',')
        .filter(|argument| !matches!(argument.trim(), "" | "void"))
        .map(|argument| {
            let (kind, name) = declared(argument);
            format!("{}: {kind}", word(name))
        })
        .collect();
    // What the script exports is the script's to define.
    if name.starts_with("exports_") {
        return String::new();
    }
    format!("pub extern fn {name}({}) {result};\n", arguments.join(", "))
}

/// `const type *name;` as type and name.
fn declared(declaration: &str) -> (String, &str) {
    let declaration = declaration.trim().trim_end_matches(';').trim();
    let at = declaration.rfind([' ', '*']).map_or(0, |at| at + 1);
    let (kind, name) = declaration.split_at_checked(at).unwrap_or(("void", declaration));
    let pointers = kind.matches('*').count();
    let kind = kind.replace("const ", "").replace('*', "");
    let kind = match kind.trim() {
        "bool" => "bool",
        "int8_t" => "i8",
        "uint8_t" => "u8",
        "int16_t" => "i16",
        "uint16_t" => "u16",
        "int32_t" => "i32",
        "uint32_t" => "u32",
        "int64_t" => "i64",
        "uint64_t" => "u64",
        "float" => "f32",
        "double" => "f64",
        "size_t" => "usize",
        "char" => "u8",
        other => other,
    };
    (format!("{}{kind}", "[*c]".repeat(pointers)), name)
}

/// A name, quoted where Zig has a word of that name.
fn word(name: &str) -> String {
    match name {
        "union" | "struct" | "enum" | "error" | "test" | "and" | "or" | "type" | "var" | "const" => {
            format!("@\"{name}\"")
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_unions_numbers_and_functions_are_known() {
        let header = "typedef struct { // a comment\n uint8_t tag;\n union {\n  bool ok;\n  a_string_t error;\n } val;\n} a_value_t;\n\
            #define A_VALUE_OK 0\ntypedef uint8_t a_kind_t;\nextern bool a_get(a_string_t *key, double *ret);\n"
            .replace(" // a comment", "");
        let zig = of_header(&header);
        assert!(zig.contains("val: extern union { ok: bool, @\"error\": a_string_t,  } = undefined,"), "{zig}");
        assert!(zig.contains("pub const A_VALUE_OK = 0;\npub const a_kind_t = u8;\n"), "{zig}");
        assert!(zig.contains("pub extern fn a_get(key: [*c]a_string_t, ret: [*c]f64) bool;"), "{zig}");
    }
}
