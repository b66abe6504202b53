//! How often somebody may try a password: so many failures in a quarter of an hour, counted so that guessing leads nowhere and
//! that nobody is locked out by the failures of others. As OWASP advises, a browser in which somebody signed in before is
//! counted by itself.
//!
//! | who tries | each of these has so many failures |
//! |---|---|
//! | a browser that signed in with this name before | this browser: 5 |
//! | anybody else | this name from this place: 5; this place: 30; this name: 100 |
//! | who changes the password of their own account | this account: 5 |
//!
//! A place is what one subscriber has: an IPv4 address, or the first 64 bits of an IPv6 address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use super::DeviceKey;

/// How long a failure counts.
const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// Counters that are kept at most: whoever tries many names must not fill the memory.
const MOST: usize = 10_000;

/// What failures are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Counter {
    /// A browser that signed in before, and the name.
    Browser(String, String),
    /// A name and a place.
    NameAt(String, String),
    /// A place: many people may sit behind one.
    Place(String),
    /// A name, wherever it is tried from.
    Name(String),
    /// An account whose password is to be changed by whoever is signed in with it.
    Change(i64),
}

impl Counter {
    /// How many failures it may have.
    fn most(&self) -> usize {
        match self {
            Self::Browser(..) | Self::NameAt(..) | Self::Change(_) => 5,
            Self::Place(_) => 30,
            Self::Name(_) => 100,
        }
    }
}

/// A try, by what it counts: the narrowest first.
#[derive(Debug, Clone)]
pub struct Try(Vec<Counter>);

impl Try {
    /// To sign in, from an address; in a browser that did so before with this name, if it is known.
    #[must_use]
    pub fn to_sign_in(name: &str, known: Option<&DeviceKey>, address: &str) -> Self {
        let name: String = name.trim().to_lowercase().chars().take(100).collect();
        let place = place(address);
        Self(match known {
            Some(browser) => vec![Counter::Browser(browser.cookie().to_owned(), name)],
            None => vec![Counter::NameAt(name.clone(), place.clone()), Counter::Place(place), Counter::Name(name)],
        })
    }

    /// To change the password of an account, by whoever is signed in with it.
    #[must_use]
    pub fn to_change(account: i64) -> Self {
        Self(vec![Counter::Change(account)])
    }
}

/// The addresses that one subscriber has.
fn place(address: &str) -> String {
    let ip = address.parse::<IpAddr>().or_else(|_| address.parse::<SocketAddr>().map(|socket| socket.ip()));
    match ip.map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => ip.to_string(),
        Ok(IpAddr::V6(ip)) => format!("{}/56", Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 72))),
        Err(_) => address.to_owned(),
    }
}

/// The failures of late. In memory: a restart forgives them, and no attacker can cause one.
#[derive(Debug, Default)]
pub struct Pace(Mutex<HashMap<Counter, Vec<Timestamp>>>);

impl Pace {
    /// Takes one of the tries that are left, if there is one. It counts as a failure from now on, so that tries at the same
    /// time count each other.
    #[must_use]
    pub fn take(&self, one: &Try, now: Timestamp) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for counter in &one.0 {
            if let Some(times) = kept.get_mut(counter) {
                times.retain(|time| now.duration_since(*time) < WINDOW);
            }
        }
        if one.0.iter().any(|counter| kept.get(counter).is_some_and(|times| times.len() >= counter.most())) {
            return false;
        }
        for counter in &one.0 {
            if kept.len() >= MOST && !kept.contains_key(counter) {
                forget_the_oldest(&mut kept);
            }
            kept.entry(counter.clone()).or_default().push(now);
        }
        true
    }

    /// Gives a try back that was taken then, and forgets the failures that are counted most narrowly: it was the right password.
    pub fn succeeded(&self, one: &Try, taken: Timestamp) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((narrowest, others)) = one.0.split_first() else { return };
        kept.remove(narrowest);
        for counter in others {
            let Some(times) = kept.get_mut(counter) else { continue };
            if let Some(at) = times.iter().position(|time| *time == taken) {
                times.remove(at);
            }
            if times.is_empty() {
                kept.remove(counter);
            }
        }
    }
}

/// Makes room: whoever wants to be forgotten has to try all the others after it.
fn forget_the_oldest(kept: &mut HashMap<Counter, Vec<Timestamp>>) {
    let oldest = kept.iter().min_by_key(|(_, times)| times.last().copied()).map(|(counter, _)| counter.clone());
    if let Some(oldest) = oldest {
        kept.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-20T09:30:00Z".parse().unwrap()
    }

    fn from(name: &str, address: &str) -> Try {
        Try::to_sign_in(name, None, address)
    }

    /// How many tries there are from an address.
    fn tries(pace: &Pace, name: &str, address: &str) -> usize {
        (0..1_000).take_while(|_| pace.take(&from(name, address), now())).count()
    }

    #[test]
    fn a_name_is_held_where_it_was_guessed_and_nowhere_else() {
        let pace = Pace::default();
        assert_eq!(tries(&pace, "Admin ", "10.0.0.1"), 5);
        assert!(!pace.take(&from("admin", "10.0.0.1"), now()));
        assert!(pace.take(&from("maya", "10.0.0.1"), now()), "others go on");
        assert_eq!(tries(&pace, "admin", "10.0.0.2"), 5, "from elsewhere it is another matter");
        assert!(pace.take(&from("admin", "10.0.0.1"), now() + WINDOW), "after a while");
    }

    #[test]
    fn a_place_is_held_whatever_names_are_tried_from_it() {
        let pace = Pace::default();
        let taken = (0..100).filter(|number| pace.take(&from(&format!("guess{number}"), "10.0.0.1"), now())).count();
        assert_eq!(taken, 30);
        assert_eq!(tries(&pace, "zoe", "10.0.0.1"), 0);
        assert_eq!(tries(&pace, "zoe", "10.0.0.2"), 5);
    }

    #[test]
    fn addresses_of_one_subscriber_are_one_place() {
        let pace = Pace::default();
        assert_eq!(tries(&pace, "admin", "2001:db8:1:2::1"), 5);
        for same in ["2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:DB8:1:2::", "2001:db8:1:ff::1", "[2001:db8:1:2::9]:4711"]
        {
            assert_eq!(tries(&pace, "admin", same), 0, "{same}");
        }
        assert_eq!(tries(&pace, "admin", "2001:db8:1:103::1"), 5);
        // An IPv4 address as an IPv6 socket tells it; all others are not its neighbours.
        assert_eq!(tries(&pace, "admin", "::ffff:10.0.0.1"), 5);
        assert_eq!(tries(&pace, "admin", "10.0.0.1"), 0);
        assert_eq!(tries(&pace, "admin", "10.0.0.1:4711"), 0);
        assert_eq!(tries(&pace, "admin", "::ffff:10.0.0.2"), 5);
        assert_eq!((tries(&pace, "admin", "unknown"), tries(&pace, "admin", "unknown")), (5, 0));
    }

    #[test]
    fn a_name_that_is_guessed_from_everywhere_is_held_but_for_browsers_that_signed_in_before() {
        let pace = Pace::default();
        let guessed: usize = (0..100).map(|number| tries(&pace, "admin", &format!("10.0.0.{number}"))).sum();
        assert_eq!(guessed, 100);
        assert_eq!(tries(&pace, "admin", "10.0.1.1"), 0, "from anywhere");
        let (own, other) = (DeviceKey::draw(), DeviceKey::draw());
        let known = |key: &DeviceKey| Try::to_sign_in("admin", Some(key), "10.0.0.1");
        assert_eq!((0..100).filter(|_| pace.take(&known(&own), now())).count(), 5, "it does not guess for ever either");
        assert!(pace.take(&known(&other), now()));
        assert_eq!(tries(&pace, "maya", "10.0.1.1"), 5);
    }

    #[test]
    fn who_changes_their_password_is_counted_apart_from_those_who_sign_in() {
        let pace = Pace::default();
        assert_eq!(tries(&pace, "admin", "10.0.0.1"), 5);
        assert_eq!((0..9).filter(|_| pace.take(&Try::to_change(1), now())).count(), 5);
        assert!(pace.take(&Try::to_change(2), now()));
        assert!(pace.take(&from("admin", "10.0.0.2"), now()));
    }

    #[test]
    fn whoever_signs_in_has_all_tries_again() {
        let pace = Pace::default();
        let known = Try::to_sign_in("admin", Some(&DeviceKey::draw()), "10.0.0.1");
        for one in [from("admin", "10.0.0.1"), known, Try::to_change(1)] {
            for _ in 0..1_000 {
                assert!(pace.take(&one, now()));
                pace.succeeded(&one, now());
            }
        }
        assert!(pace.0.lock().unwrap().is_empty());
        // What failed before it, and what others did, stays counted where it is not theirs alone.
        for name in ["maya", "maya", "admin"] {
            assert!(pace.take(&from(name, "10.0.0.1"), now()));
        }
        pace.succeeded(&from("admin", "10.0.0.1"), now());
        let kept = pace.0.lock().unwrap();
        assert_eq!(kept.get(&Counter::Place("10.0.0.1".to_owned())).map(Vec::len), Some(2));
        assert!(!kept.contains_key(&Counter::Name("admin".to_owned())));
    }

    #[test]
    fn when_the_table_is_full_the_oldest_is_forgotten_and_new_names_are_counted() {
        let pace = Pace::default();
        let after = |number: usize| now() + SignedDuration::from_micros(i64::try_from(number).unwrap());
        // Three counters each, of which the last is one too many.
        for number in 0..=MOST / 3 {
            assert!(pace.take(&from(&format!("name{number}"), &format!("address{number}")), after(number)));
        }
        assert_eq!(pace.0.lock().unwrap().len(), MOST);
        for _ in 0..5 {
            assert!(pace.take(&from("admin", "10.0.0.1"), after(MOST)));
        }
        assert!(!pace.take(&from("admin", "10.0.0.1"), after(MOST)), "counted though it came late");
        let kept = pace.0.lock().unwrap();
        assert_eq!(kept.len(), MOST);
        let name = |number: usize| Counter::Name(format!("name{number}"));
        assert!(!kept.contains_key(&name(0)) && kept.contains_key(&name(2)));
    }
}
