//! What each role opens. A role is a set of scopes, the same that tokens of the API have; which records somebody sees is
//! decided by the rights of their user, whatever the role.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::tokens::Scope;

/// What somebody does here. An account may have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Everything, accounts and settings included.
    Administrator,
    /// Uploads and tests scripts, and configures automations.
    Developer,
    /// Runs, retries, cancels, pauses.
    Operator,
    /// Says yes or no to changes.
    Approver,
    /// Looks.
    Reader,
}

impl Role {
    /// All of them, the one with most first.
    pub const ALL: [Self; 5] = [Self::Administrator, Self::Developer, Self::Operator, Self::Approver, Self::Reader];

    /// Lower-case name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Developer => "developer",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Reader => "reader",
        }
    }

    /// What it is for, in one sentence.
    #[must_use]
    pub fn help(self) -> &'static str {
        match self {
            Self::Administrator => "everything, accounts and settings included",
            Self::Developer => "upload scripts, configure and test automations, run them",
            Self::Operator => "run, retry, cancel, pause, stop",
            Self::Approver => "approve or reject proposed changes",
            Self::Reader => "look at what their user may read",
        }
    }

    /// What it opens.
    #[must_use]
    pub fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Administrator => &Scope::ALL,
            Self::Developer => &[Scope::Read, Scope::Rules, Scope::Scripts, Scope::Operate],
            Self::Operator => &[Scope::Read, Scope::Operate],
            Self::Approver => &[Scope::Read, Scope::Approve],
            Self::Reader => &[Scope::Read],
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| format!("`{text}` is no role; there are {names}"))
    }
}

/// Everything that several roles open together.
#[must_use]
pub fn scopes(roles: &BTreeSet<Role>) -> BTreeSet<Scope> {
    roles.iter().flat_map(|role| role.scopes()).copied().collect()
}
