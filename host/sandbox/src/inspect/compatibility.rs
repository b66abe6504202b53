//! A component against every published version of the contract.

use serde::Serialize;

use super::{
    Finding,
    contract::{self, PACKAGE, VERSIONS, links},
    file_kind,
    imports::{compared, split},
    walk::walk,
};

/// A component against one version of the contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compatibility {
    /// The version.
    pub version: &'static str,
    /// Whether it runs on a host of this version.
    pub fit: Fit,
    /// What is in the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// Whether a component runs on a host of some version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// As it is.
    Runs,
    /// Once it is built again with that version's `wit/`: it uses nothing that is not there.
    Rebuild,
    /// No.
    No,
}

impl Fit {
    /// In words.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Rebuild => "runs once it is built with that version's `wit/`",
            Self::No => "does not run",
        }
    }
}

/// Compares a component with every published version of the contract, the oldest first.
///
/// # Errors
/// It is no component, or a broken one.
pub fn compatibility(bytes: &[u8]) -> Result<Vec<Compatibility>, Finding> {
    if let Some(message) = file_kind::problem(bytes) {
        return Err(Finding { code: "not-a-component", message });
    }
    with_each(bytes, VERSIONS)
}

fn with_each(bytes: &[u8], versions: &[(&'static str, &[u8])]) -> Result<Vec<Compatibility>, Finding> {
    versions.iter().map(|(version, contract)| with(bytes, version, contract)).collect()
}

fn with(bytes: &[u8], version: &'static str, contract: &[u8]) -> Result<Compatibility, Finding> {
    let (walk, world) = walk(bytes, contract)?;
    let (mut problems, mut linked) = (Vec::new(), true);
    if let Err(finding) = contract::check_run(walk.types.as_ref(), &world) {
        problems.push(finding.message);
    }
    for name in walk.imports.iter().filter(|name| name.starts_with(PACKAGE)) {
        let (interface, built_for) = split(name);
        linked &= links(built_for.unwrap_or_default(), version);
        let theirs = world.imports().into_iter().find(|known| split(known).0 == interface).map(str::to_owned);
        match theirs.and_then(|theirs| compared(name, &theirs, walk.types.as_ref(), &world)) {
            None => problems.push(format!("{version} has no `{interface}`")),
            Some(Err(problem)) => problems.push(problem),
            Some(Ok(_)) => {}
        }
    }
    let fit = match (problems.is_empty(), linked) {
        (false, _) => Fit::No,
        (true, true) => Fit::Runs,
        (true, false) => Fit::Rebuild,
    };
    Ok(Compatibility { version, fit, problems })
}

#[cfg(test)]
mod tests {
    use guest_artifacts::{CONTRACT_CHECK, CONTRACTS, FIRST_CONTRACT, HIGH_VALUE_ORDER};

    use super::{
        Fit,
        contract::{full_name, links},
        with_each,
    };

    #[test]
    fn a_component_is_told_what_each_version_of_the_contract_comes_to() {
        let told = |bytes: &[u8]| -> Vec<_> {
            let versions = with_each(bytes, CONTRACTS).expect("it is a component").into_iter();
            versions.map(|one| (one.version, one.fit, one.problems.join("\n"))).collect()
        };
        let wants = |told: &[(&str, Fit, String)], wanted: [Fit; 6]| {
            assert_eq!(told.iter().map(|(_, fit, _)| *fit).collect::<Vec<_>>(), wanted, "{told:#?}");
        };

        // It imports all of the contract, what came with 0.1.1 included.
        let whole = told(CONTRACT_CHECK.component);
        wants(&whole, [Fit::No, Fit::Runs, Fit::Runs, Fit::Rebuild, Fit::No, Fit::No]);
        assert!(whole[0].2.contains("imports `describe-fields` of"), "{whole:#?}");
        assert_eq!(whole[4].2, "0.3.0 has no `triggerbox:automation/state`");
        assert!(whole[5].2.contains(&format!("imports `{}` with other types", full_name("records"))), "{whole:#?}");

        // It does without what came later and keeps no state.
        let order = told(HIGH_VALUE_ORDER.component);
        wants(&order, [Fit::Rebuild, Fit::Runs, Fit::Runs, Fit::Rebuild, Fit::Rebuild, Fit::No]);
        assert!(order[..5].iter().all(|(.., problems)| problems.is_empty()), "{order:#?}");

        // It was built for the first contract.
        let first = told(FIRST_CONTRACT.component);
        wants(&first, [Fit::Runs, Fit::Runs, Fit::Runs, Fit::Rebuild, Fit::Rebuild, Fit::Rebuild]);
    }

    #[test]
    fn hosts_answer_to_older_names_of_the_same_line() {
        assert!(links("0.1.0", "0.1.3"));
        assert!(!links("0.1.3", "0.1.0"));
        assert!(!links("0.1.0", "0.2.0"));
        assert!(links("1.2.0", "1.3.0"));
        assert!(!links("1.2.0", "2.0.0"));
    }
}
