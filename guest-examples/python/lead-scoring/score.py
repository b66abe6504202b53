"""The score: points for what is known about a lead."""

import re
from dataclasses import dataclass


@dataclass
class Rules:
    """Which facts give how many points."""

    industries: list
    industry_points: int
    budget_from: float
    budget_points: int
    decision_makers: list
    decision_maker_points: int
    free_email_domains: list
    business_email_points: int
    phone_points: int
    company_points: int

    @classmethod
    def from_parameters(cls, event):
        lists = ("industries", "decision_makers", "free_email_domains")
        values = {name: event.param(name) for name in cls.__dataclass_fields__}
        return cls(**{name: words(value) if name in lists else value for name, value in values.items()})

    def score(self, lead, text):
        """Points from 0 to 100, and what they were given for."""
        facts = [
            ("industry", contains_any(text, self.industries), self.industry_points),
            ("budget", lead["expected_revenue"] >= self.budget_from, self.budget_points),
            ("decision maker", contains_any(lead["function"] or "", self.decision_makers), self.decision_maker_points),
            ("business e-mail", self.is_business_email(lead["email_from"] or ""), self.business_email_points),
            ("phone", bool(lead["phone"]), self.phone_points),
            ("company", bool(lead["partner_name"]), self.company_points),
        ]
        points = sum(points for _, known, points in facts if known)
        return max(0, min(100, points)), [reason for reason, known, _ in facts if known]

    def is_business_email(self, email):
        _, at, domain = email.rpartition("@")
        domain = domain.rstrip(">").lower()
        return bool(at) and "." in domain and domain not in self.free_email_domains


def words(listed):
    """A comma-separated list, in lower case."""
    return [word.strip().lower() for word in listed.split(",") if word.strip()]


def contains_any(text, phrases):
    """Whether one of the phrases stands in the text as whole words."""
    text = separated(text)
    return any(separated(phrase) in text for phrase in phrases)


def separated(text):
    return f" {' '.join(re.findall(r'[^\W_]+', text)).lower()} "
