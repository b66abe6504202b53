//! Hashes of passwords: Argon2id with the library's parameters, which are those that OWASP recommends.

use argon2::{
    Argon2, PasswordHash, PasswordHasher, PasswordVerifier,
    password_hash::{Error, SaltString},
};
use triggerbox_model::error::Error as Refusal;

/// Shorter ones are guessed.
pub const SHORTEST: usize = 10;

/// Longer ones only keep the server busy.
pub const LONGEST: usize = 200;

/// Whether a text may be a password.
///
/// # Errors
/// `weak-password`
pub fn check(password: &str) -> Result<(), Refusal> {
    let length = password.chars().count();
    let mut distinct: Vec<char> = password.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    if (SHORTEST..=LONGEST).contains(&length) && distinct.len() >= 4 {
        return Ok(());
    }
    let text = format!("a password has {SHORTEST} to {LONGEST} characters, not all of them the same few");
    Err(Refusal::invalid("weak-password", text).with_field("password"))
}

/// The hash that is kept of a password. Takes a while: not for the threads that serve requests.
///
/// # Errors
/// What the library says: never for a password of [`check`].
pub fn hash(password: &str) -> Result<String, Error> {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>())?;
    Ok(Argon2::default().hash_password(password.as_bytes(), &salt)?.to_string())
}

/// Whether a password is the one of a hash. Without a hash it takes as long, and is not: nobody learns from the time
/// whether there is such an account.
#[must_use]
pub fn is(password: &str, hash: Option<&str>) -> bool {
    if password.len() > LONGEST * 4 {
        return false;
    }
    let known = hash.and_then(|hash| PasswordHash::new(hash).ok());
    match known {
        Some(known) => Argon2::default().verify_password(password.as_bytes(), &known).is_ok(),
        None => {
            // The work is what counts.
            let _ = self::hash(password);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_tells_its_password_from_others() {
        let kept = hash("correct horse battery").unwrap();
        assert!(kept.starts_with("$argon2id$"), "{kept}");
        assert!(is("correct horse battery", Some(&kept)));
        assert!(!is("correct horse batterz", Some(&kept)));
        assert!(!is("correct horse battery", None));
        assert_ne!(hash("correct horse battery").unwrap(), kept, "each has a salt of its own");
    }

    #[test]
    fn weak_passwords_are_refused() {
        for weak in ["", "short", "aaaaaaaaaaaaaaa", "abababababababab"] {
            assert_eq!(check(weak).unwrap_err().code, "weak-password", "{weak}");
        }
        check("correct horse battery").unwrap();
    }
}
