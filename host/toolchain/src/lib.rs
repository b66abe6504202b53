//! From a script's folder to a component, in every supported language.
//!
//! | module | what it does |
//! |---|---|
//! | [`language`] | which language a folder is written in |
//! | [`workshop`] | where compilers and intermediate files live; installs compilers on first use |
//! | [`versions`] | the compilers and their versions: the one place where they are pinned |
//! | [`bindings`] | what is generated from the contract: C bindings, components from core modules |
//! | [`clients`] | which programs there are to fetch and run compilers with |
//! | [`cache`] | components by the content that they were built from |
//! | `python`, `javascript`, `c`, `zig`, `go`, `rust` | one compiler each |
//!
//! The component comes without its manifest: putting that in is the caller's business.

pub mod bindings;
pub mod cache;
pub mod language;
pub mod versions;
pub mod workshop;

mod c;
mod clients;
mod error;
mod go;
mod javascript;
mod process;
mod project;
mod python;
mod rust;
mod zig;

pub use self::{clients::clients, error::Error, language::Language, project::Project, workshop::Workshop};

/// The contract that scripts are built against, where their folder does not bring its own.
pub const CONTRACT: &str = include_str!("../../../wit/automation.wit");

/// Compiles a script's folder. Compilers are installed on first use; what they say goes to stderr.
///
/// # Errors
/// [`Error`], when the language is not told by the folder, a compiler cannot be had, or the script does not compile.
pub fn build(project: &Project, workshop: &Workshop) -> Result<Vec<u8>, Error> {
    // Cargo waits by itself for another build of the same folder.
    let _alone = if project.language == Language::Rust { None } else { Some(workshop.alone()?) };
    match project.language {
        Language::Rust => rust::build(project),
        Language::Python => python::build(project, workshop),
        Language::TypeScript | Language::JavaScript => javascript::build(project, workshop),
        Language::C | Language::Cpp => c::build(project, workshop),
        Language::Zig => zig::build(project, workshop),
        Language::Go => go::build(project, workshop),
    }
}
