//! The budgets that several runs share, as an administrator sets them while the host runs.

use serde::{Deserialize, Serialize};

use crate::{
    config::{Budget, Budgets},
    setting::Wrong,
};

/// The most calls, tokens and euros of one budget: what the ledger counts stays far below what it can hold.
const MOST: (u64, u64, f64) = (1_000_000_000, 1_000_000_000_000, 1e9);

/// Some of the budgets. What is not there is said elsewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct BudgetSetting {
    /// One root event with all that follows from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Budget>,
    /// One rule in a day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_day: Option<Budget>,
    /// All rules in a day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_day: Option<Budget>,
}

impl BudgetSetting {
    /// All of them.
    #[must_use]
    pub fn of(all: &Budgets) -> Self {
        Self { root: Some(all.root), rule_day: Some(all.rule_day), server_day: Some(all.server_day) }
    }

    /// What each is called in the file, and what is said of it.
    #[must_use]
    pub fn each(&self) -> [(&'static str, Option<Budget>); 3] {
        [("root", self.root), ("rule-day", self.rule_day), ("server-day", self.server_day)]
    }

    /// Whether it says something of the budget that is called so in the file.
    #[must_use]
    pub fn says(&self, name: &str) -> bool {
        self.each().into_iter().any(|(known, budget)| known == name && budget.is_some())
    }

    /// All budgets, with these in place of some of them.
    #[must_use]
    pub fn over(&self, all: &Budgets) -> Budgets {
        Budgets {
            root: self.root.unwrap_or(all.root),
            rule_day: self.rule_day.unwrap_or(all.rule_day),
            server_day: self.server_day.unwrap_or(all.server_day),
        }
    }

    /// Those that differ from what there is without them.
    #[must_use]
    pub fn unlike(&self, all: &Budgets) -> Self {
        Self {
            root: self.root.filter(|own| *own != all.root),
            rule_day: self.rule_day.filter(|own| *own != all.rule_day),
            server_day: self.server_day.filter(|own| *own != all.server_day),
        }
    }

    /// What is wrong with it.
    #[must_use]
    pub fn wrong(&self) -> Vec<Wrong> {
        let mut all = Vec::new();
        for (name, budget) in self.each() {
            let Some(Budget { calls, tokens, cost }) = budget else { continue };
            let mut within = |what: &str, is_within: bool, most: &dyn std::fmt::Display| {
                if !is_within {
                    all.push(Wrong {
                        place: format!("{name}.{what}"),
                        message: format!("is a number from 0 to {most}"),
                    });
                }
            };
            within("calls", calls <= MOST.0, &MOST.0);
            within("tokens", tokens <= MOST.1, &MOST.1);
            within("cost", (0.0..=MOST.2).contains(&cost), &MOST.2);
        }
        all
    }
}
