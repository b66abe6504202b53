//! The programs that fetch compilers and run them: what this machine brings, and what it lacks.

use std::process::Command;

use crate::{
    versions::Registry,
    workshop::{NODE_HINT, PYTHON_HINT, python},
};

/// What a registry's compilers need, with versions: `Python 3.11.7, pip 24.0`.
///
/// # Errors
/// What is missing or too old, and what to do.
pub fn clients(registry: Registry) -> Result<String, String> {
    match registry {
        Registry::PyPi => {
            let python_itself = version(python().arg("--version"), PYTHON_HINT)?;
            // `pip 24.0 from /usr/lib/…`
            let pip = version(python().args(["-m", "pip", "--version"]), PYTHON_HINT)?;
            let pip: Vec<_> = pip.split(' ').take(2).collect();
            new_enough(&python_itself, [3, 10], PYTHON_HINT)?;
            Ok(format!("{python_itself}, {}", pip.join(" ")))
        }
        Registry::Npm => {
            let node = version(Command::new("node").arg("--version"), NODE_HINT)?;
            let npm = version(Command::new("npm").arg("--version"), NODE_HINT)?;
            new_enough(&node, [18, 0], NODE_HINT)?;
            Ok(format!("Node.js {}, npm {npm}", node.trim_start_matches('v')))
        }
    }
}

/// What a program says of itself, in a line.
fn version(command: &mut Command, hint: &str) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("cannot start `{program}`: {error}; {hint}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    match (output.status.success(), said.lines().next()) {
        (true, Some(line)) => Ok(line.trim().to_owned()),
        _ => {
            let errors = String::from_utf8_lossy(&output.stderr);
            let why = errors.lines().next_back().unwrap_or("it says nothing");
            Err(format!("`{program}` does not tell its version: {why}; {hint}"))
        }
    }
}

/// Whether the first numbers of a version are at least these.
fn new_enough(version: &str, least: [u32; 2], hint: &str) -> Result<(), String> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<u32>().ok());
    let found = [numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default()];
    if found < least { Err(format!("{version} is too old; {hint}")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_compared_by_its_numbers() {
        for good in ["Python 3.10.0", "Python 3.14.1rc1", "Python 4.0"] {
            assert_eq!(new_enough(good, [3, 10], "get another"), Ok(()), "{good}");
        }
        for old in ["Python 3.9.18", "Python 2.7"] {
            assert_eq!(new_enough(old, [3, 10], "get another"), Err(format!("{old} is too old; get another")));
        }
        assert_eq!(new_enough("v18.13.0", [18, 0], ""), Ok(()));
    }

    #[test]
    fn a_program_that_is_not_there_is_named_with_what_to_do() {
        let said = version(&mut Command::new("/nowhere/python3"), "get it").unwrap_err();
        assert!(said.starts_with("cannot start `/nowhere/python3`: ") && said.ends_with("; get it"), "{said}");
    }
}
