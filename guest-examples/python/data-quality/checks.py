"""What an e-mail address and a phone number look like."""

import re

#: Letters, digits and dashes, without a dash at either end.
LABEL = r"[^\W_](?:(?:[^\W_]|-)*[^\W_])?"
EMAIL = re.compile(rf"[\w.!#$%&'*+/=?^`{{|}}~-]+@{LABEL}(?:\.{LABEL})+")
PHONE = re.compile(r"\+?[0-9 \-./()]+")


def is_email(text):
    """Whether a text can be an e-mail address, alone or as `Ada <ada@example.com>`. Says nothing about whether it
    exists."""
    text = text.strip()
    name, bracket, address = text.rpartition("<")
    if bracket:
        if not address.endswith(">"):
            return False
        text = address[:-1]
    return EMAIL.fullmatch(text) is not None


def is_phone(text):
    """Whether a text can be a phone number: 7 to 15 digits, a plus only in front, and what people put between."""
    digits = sum(character in "0123456789" for character in text)
    return 7 <= digits <= 15 and PHONE.fullmatch(text.strip()) is not None
