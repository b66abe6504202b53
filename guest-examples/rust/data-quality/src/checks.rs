//! What an e-mail address and a phone number look like.

/// Whether a text can be an e-mail address, alone or as `Ada <ada@example.com>`. Says nothing about whether it exists.
pub fn is_email(text: &str) -> bool {
    let text = text.trim();
    let address = match text.rsplit_once('<') {
        Some((_, address)) => address.strip_suffix('>').unwrap_or_default(),
        None => text,
    };
    let Some((mailbox, domain)) = address.split_once('@') else { return false };
    let mailbox_fits =
        !mailbox.is_empty() && mailbox.chars().all(|c| c.is_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c));
    let label_fits = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    mailbox_fits && domain.contains('.') && domain.split('.').all(label_fits)
}

/// Whether a text can be a phone number: 7 to 15 digits, a plus only in front, and what people put between.
pub fn is_phone(text: &str) -> bool {
    let number = text.trim();
    let rest = number.strip_prefix('+').unwrap_or(number);
    let digits = rest.chars().filter(char::is_ascii_digit).count();
    (7..=15).contains(&digits) && rest.chars().all(|c| c.is_ascii_digit() || " -./()".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_addresses() {
        for good in ["ada@example.com", "Ada Lovelace <ada.l+crm@mail.example.co.uk>", "o'brien@exämple.eu"] {
            assert!(is_email(good), "{good}");
        }
        for bad in
            ["ada", "ada@", "@example.com", "ada@example", "ada@@example.com", "ada@example..com", "a b@example.com"]
        {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn phone_numbers() {
        for good in ["+32 2 290 34 90", "(650) 555-0111", "0475.12.34.56"] {
            assert!(is_phone(good), "{good}");
        }
        for bad in ["123456", "call me", "+1 650 CALL NOW", "12+34567890", "1234567890123456"] {
            assert!(!is_phone(bad), "{bad}");
        }
    }
}
