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
    /// Takes one of the tries that a name and an address have left, if both have one. It counts as a failure from now on,
    /// so that tries at the same time count each other.
    #[must_use]
    pub fn take(&self, name: &str, address: &str, now: Timestamp) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = [(key("name", name), PER_NAME), (key("address", address), PER_ADDRESS)];
        for (key, _) in &keys {
            if let Some(times) = kept.get_mut(key) {
                times.retain(|time| now.duration_since(*time) < WINDOW);
            }
        }
        if keys.iter().any(|(key, most)| kept.get(key).is_some_and(|times| times.len() >= *most)) {
            return false;
        }
        for (key, _) in keys {
            if kept.len() >= MOST && !kept.contains_key(&key) {
                forget_the_oldest(&mut kept);
            }
            kept.entry(key).or_default().push(now);
        }
        true
    }

    /// Gives the try back that was taken then, and forgets the failures of the name: it signed in.
    pub fn succeeded(&self, name: &str, address: &str, taken: Timestamp) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.remove(&key("name", name));
        let address = key("address", address);
        let Some(times) = kept.get_mut(&address) else { return };
        if let Some(at) = times.iter().position(|time| *time == taken) {
            times.remove(at);
        }
        if times.is_empty() {
            kept.remove(&address);
        }
    }
}

/// Makes room: whoever wants to be forgotten has to try all the others after it.
fn forget_the_oldest(kept: &mut HashMap<String, Vec<Timestamp>>) {
    let oldest = kept.iter().min_by_key(|(_, times)| times.last().copied()).map(|(key, _)| key.clone());
    if let Some(oldest) = oldest {
        kept.remove(&oldest);
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
            assert!(pace.take("Admin ", "10.0.0.1", now));
        }
        assert!(!pace.take("admin", "10.0.0.2", now), "from anywhere");
        assert!(pace.take("maya", "10.0.0.1", now), "others go on");
        assert!(pace.take("admin", "10.0.0.1", now + WINDOW));
        for number in 0..PER_ADDRESS {
            let _ = pace.take(&format!("guess{number}"), "10.0.0.1", now);
        }
        assert!(!pace.take("zoe", "10.0.0.1", now));
        assert!(pace.take("zoe", "10.0.0.2", now));
    }

    #[test]
    fn whoever_signs_in_has_all_tries_again() {
        let pace = Pace::default();
        let now: Timestamp = "2026-11-20T09:30:00Z".parse().unwrap();
        for _ in 0..20 * PER_ADDRESS {
            assert!(pace.take("admin", "10.0.0.1", now));
            pace.succeeded("admin", "10.0.0.1", now);
        }
        assert!(pace.0.lock().unwrap().is_empty());
    }

    #[test]
    fn when_the_table_is_full_the_oldest_is_forgotten_and_new_names_are_counted() {
        let pace = Pace::default();
        let begin: Timestamp = "2026-11-20T09:30:00Z".parse().unwrap();
        let after = |number: usize| begin + SignedDuration::from_micros(i64::try_from(number).unwrap());
        // A name and an address each.
        for number in 0..MOST / 2 {
            assert!(pace.take(&format!("name{number}"), &format!("address{number}"), after(number)));
        }
        assert_eq!(pace.0.lock().unwrap().len(), MOST);
        for _ in 0..PER_NAME {
            assert!(pace.take("admin", "10.0.0.1", after(MOST)));
        }
        assert!(!pace.take("admin", "10.0.0.1", after(MOST)), "counted though it came late");
        let kept = pace.0.lock().unwrap();
        assert_eq!(kept.len(), MOST);
        assert!(!kept.contains_key("name:name0") && kept.contains_key("name:name2"));
    }
}
