//! HMAC-SHA256 over a timestamp and a body: what comes in is checked by it, what goes out carries it.
//!
//! `Triggerbox-Timestamp: 1764065000` (seconds since 1970) and `Triggerbox-Signature: v1=` with the hexadecimal HMAC of
//! the timestamp's text, a dot, and the body's bytes. Several signatures, separated by commas, are allowed: one is enough,
//! so that a secret can be changed without a gap.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

/// Name of the header with the time.
pub const TIMESTAMP: &str = "triggerbox-timestamp";
/// Name of the header with the signature.
pub const SIGNATURE: &str = "triggerbox-signature";

const PREFIX: &str = "v1=";

/// The value of the signature's header.
#[must_use]
pub fn sign(secret: &[u8], timestamp: &str, body: &[u8]) -> String {
    let tag = mac(secret, timestamp, body).map(|mac| mac.finalize().into_bytes());
    let digits = tag.map(|tag| tag.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    format!("{PREFIX}{}", digits.unwrap_or_default())
}

/// Whether a request was signed with the secret, not longer ago, or later, than the window.
///
/// # Errors
/// Why not, for the log: callers are told only that it is wrong.
pub fn check(
    secret: &[u8],
    timestamp: &str,
    signatures: &str,
    body: &[u8],
    now: Timestamp,
    window: u64,
) -> Result<(), &'static str> {
    let at: i64 = timestamp.parse().map_err(|_| "the timestamp is no number of seconds")?;
    if now.as_second().abs_diff(at) > window {
        return Err("the timestamp is outside of the window");
    }
    let signed = signatures.split(',').filter_map(|one| unhex(one.trim().strip_prefix(PREFIX)?));
    for signature in signed {
        let mac = mac(secret, timestamp, body).ok_or("the secret cannot be used")?;
        // In constant time.
        if mac.verify_slice(&signature).is_ok() {
            return Ok(());
        }
    }
    Err("no signature fits the secret")
}

fn mac(secret: &[u8], timestamp: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    Some(mac)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_764_065_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_signature_is_the_published_one() {
        // As `printf '1764065000.{}' | openssl dgst -sha256 -hmac 0123456789abcdef` has it.
        let signature = sign(b"0123456789abcdef", "1764065000", b"{}");
        assert_eq!(signature.len(), 3 + 64);
        assert!(check(b"0123456789abcdef", "1764065000", &signature, b"{}", at(NOW), 300).is_ok());
        let both = format!("v1=00, v0=xx,{signature}");
        assert!(check(b"0123456789abcdef", "1764065000", &both, b"{}", at(NOW + 300), 300).is_ok());
    }

    #[test]
    fn everything_else_is_refused() {
        let (secret, time): (&[u8], _) = (b"0123456789abcdef", "1764065000");
        let good = sign(secret, time, b"{}");
        let refused = |secret: &[u8], time: &str, signature: &str, body: &[u8], now| {
            check(secret, time, signature, body, at(now), 300).is_err()
        };
        assert!(refused(b"another secret..", time, &good, b"{}", NOW));
        assert!(refused(secret, "1764065001", &good, b"{}", NOW));
        assert!(refused(secret, time, &good, b"{ }", NOW));
        assert!(refused(secret, time, &good, b"{}", NOW + 301));
        assert!(refused(secret, time, &good, b"{}", NOW - 301));
        assert!(refused(secret, "soon", &good, b"{}", NOW));
        for signature in ["", "v1=", "v1=0", "v1=zz", "v1=\u{e9}\u{e9}", good.trim_start_matches("v1=")] {
            assert!(refused(secret, time, signature, b"{}", NOW), "{signature}");
        }
    }
}
