//! How often somebody may try to sign in: so many failures for each name and each address in a quarter of an hour.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

/// Failures of one name.
const PER_NAME: usize = 5;

/// Failures from one address: many people may sit behind one.
const PER_ADDRESS: usize = 30;

const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// Names and addresses that are kept at most: whoever tries many names must not fill the memory.
const MOST: usize = 10_000;

/// The failures of late. In memory: a restart forgives them, and no attacker can cause one.
#[derive(Debug, Default)]
pub struct Pace(Mutex<HashMap<String, Vec<Timestamp>>>);

impl Pace {
    /// Whether another try is allowed.
    #[must_use]
    pub fn allows(&self, name: &str, address: &str, now: Timestamp) -> bool {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = |key: &str| {
            kept.get(key).map_or(0, |times| times.iter().filter(|time| now.duration_since(**time) < WINDOW).count())
        };
        failures(&key("name", name)) < PER_NAME && failures(&key("address", address)) < PER_ADDRESS
    }

    /// Keeps a failure.
    pub fn failed(&self, name: &str, address: &str, now: Timestamp) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST {
            kept.retain(|_, times| times.last().is_some_and(|time| now.duration_since(*time) < WINDOW));
        }
        for key in [key("name", name), key("address", address)] {
            if kept.len() < MOST || kept.contains_key(&key) {
                let times = kept.entry(key).or_default();
                times.retain(|time| now.duration_since(*time) < WINDOW);
                times.push(now);
            }
        }
    }

    /// Forgets the failures of a name: it signed in.
    pub fn succeeded(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key("name", name));
    }
}

fn key(kind: &str, text: &str) -> String {
    let text: String = text.trim().to_lowercase().chars().take(100).collect();
    format!("{kind}:{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_held_after_five_failures_and_let_go_after_a_while() {
        let pace = Pace::default();
        let now: Timestamp = "2026-11-20T09:30:00Z".parse().unwrap();
        for _ in 0..PER_NAME {
            assert!(pace.allows("admin", "10.0.0.1", now));
            pace.failed("Admin ", "10.0.0.1", now);
        }
        assert!(!pace.allows("admin", "10.0.0.2", now), "from anywhere");
        assert!(pace.allows("maya", "10.0.0.1", now), "others go on");
        assert!(pace.allows("admin", "10.0.0.1", now + WINDOW));
        for number in 0..PER_ADDRESS {
            pace.failed(&format!("guess{number}"), "10.0.0.1", now);
        }
        assert!(!pace.allows("maya", "10.0.0.1", now));
    }
}
