//! What one session may use: a rule's runs on one record, or a single run of a rule that is not chained.

use serde::{Deserialize, Serialize};
use triggerbox_llm::budget::Amount;
use utoipa::ToSchema;

/// What one session may use of language models. 0: nothing is said here, so that what others say counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Caps {
    /// Runs after the first one.
    #[serde(skip_serializing_if = "is_nothing")]
    pub resumes: u32,
    /// Hours since the first run.
    #[serde(skip_serializing_if = "is_nothing")]
    pub hours: u32,
    /// Tokens, in and out.
    #[serde(skip_serializing_if = "is_nothing")]
    pub tokens: u64,
    /// Euros.
    #[serde(skip_serializing_if = "is_nothing")]
    pub cost: f64,
}

impl Caps {
    /// What counts where nobody says anything.
    pub const DEFAULT: Self = Self { resumes: 50, hours: 720, tokens: 1_000_000, cost: 5.0 };

    /// The caps in force: what the rule says, within what its agents say; where none of them says anything, the server's;
    /// else the program's.
    #[must_use]
    pub fn effective(rule: Self, agents: Self, server: Self) -> Self {
        rule.within(agents).or(server).or(Self::DEFAULT)
    }

    /// Whether its cost is an amount.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.cost.is_finite() && self.cost >= 0.0
    }

    /// In the ledger's units. How many calls that takes is each run's business.
    #[must_use]
    pub fn amount(&self) -> Amount {
        Amount { calls: u64::MAX, tokens: self.tokens, micro_euro: triggerbox_model::limits::micro_euro(self.cost) }
    }

    /// How long a session lives, in milliseconds.
    #[must_use]
    pub fn lifetime(&self) -> i64 {
        i64::from(self.hours) * 3_600_000
    }

    /// The smaller of each two caps.
    #[must_use]
    pub fn within(self, bound: Self) -> Self {
        Self {
            resumes: smaller(self.resumes, bound.resumes),
            hours: smaller(self.hours, bound.hours),
            tokens: smaller(self.tokens, bound.tokens),
            cost: smaller(self.cost, bound.cost),
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            resumes: either(self.resumes, other.resumes),
            hours: either(self.hours, other.hours),
            tokens: either(self.tokens, other.tokens),
            cost: either(self.cost, other.cost),
        }
    }
}

/// The smaller of two bounds that say something.
fn smaller<T: Default + PartialOrd>(one: T, other: T) -> T {
    if is_nothing(&one) || (!is_nothing(&other) && other < one) { other } else { one }
}

fn either<T: Default + PartialOrd>(one: T, other: T) -> T {
    if is_nothing(&one) { other } else { one }
}

fn is_nothing<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::Caps;

    // Shows: F053, F054, F055, F056, F057
    #[test]
    fn a_rule_narrows_its_agent_and_nothing_means_the_servers_default() {
        let nothing = Caps::default();
        assert_eq!(Caps::effective(nothing, nothing, nothing), Caps::DEFAULT);
        assert_eq!(Caps::DEFAULT, Caps { resumes: 50, hours: 720, tokens: 1_000_000, cost: 5.0 });
        let server = Caps { resumes: 10, cost: 2.0, ..nothing };
        assert_eq!(Caps::effective(nothing, nothing, server), Caps { resumes: 10, cost: 2.0, ..Caps::DEFAULT });
        let rule = Caps { resumes: 80, cost: 0.5, ..nothing };
        let expected = Caps { resumes: 80, cost: 0.5, ..Caps::DEFAULT };
        assert_eq!(Caps::effective(rule, nothing, server), expected, "a default is no bound");
        let agent = Caps { resumes: 5, hours: 24, cost: 1.0, ..nothing };
        let expected = Caps { resumes: 5, hours: 24, cost: 0.5, ..Caps::DEFAULT };
        assert_eq!(Caps::effective(rule, agent, server), expected, "an agent is one");
    }
}
