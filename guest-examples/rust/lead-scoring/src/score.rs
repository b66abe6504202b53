//! The score: points for what is known about a lead.

use std::fmt;

use triggerbox::prelude::*;

/// What the score is made from.
pub struct Lead<'a> {
    /// Everything written about the lead.
    pub text: String,
    pub company: &'a str,
    pub position: &'a str,
    pub email: &'a str,
    pub phone: &'a str,
    pub revenue: f64,
}

/// Which facts give how many points.
pub struct Rules {
    pub industries: Vec<String>,
    pub industry_points: i32,
    pub budget_from: f64,
    pub budget_points: i32,
    pub decision_makers: Vec<String>,
    pub decision_maker_points: i32,
    pub free_email_domains: Vec<String>,
    pub business_email_points: i32,
    pub phone_points: i32,
    pub company_points: i32,
}

/// Points from 0 to 100, and what they were given for.
pub struct Score {
    pub points: i32,
    pub reasons: Vec<&'static str>,
}

impl Rules {
    pub fn from_parameters(event: &Event) -> Result<Self> {
        Ok(Self {
            industries: words(&event.param::<String>("industries")?),
            industry_points: event.param("industry_points")?,
            budget_from: event.param("budget_from")?,
            budget_points: event.param("budget_points")?,
            decision_makers: words(&event.param::<String>("decision_makers")?),
            decision_maker_points: event.param("decision_maker_points")?,
            free_email_domains: words(&event.param::<String>("free_email_domains")?),
            business_email_points: event.param("business_email_points")?,
            phone_points: event.param("phone_points")?,
            company_points: event.param("company_points")?,
        })
    }

    pub fn score(&self, lead: &Lead) -> Score {
        let facts = [
            ("industry", contains_any(&lead.text, &self.industries), self.industry_points),
            ("budget", lead.revenue >= self.budget_from, self.budget_points),
            ("decision maker", contains_any(lead.position, &self.decision_makers), self.decision_maker_points),
            ("business e-mail", self.is_business_email(lead.email), self.business_email_points),
            ("phone", !lead.phone.is_empty(), self.phone_points),
            ("company", !lead.company.is_empty(), self.company_points),
        ];
        let known = facts.into_iter().filter(|(_, known, _)| *known);
        let (reasons, points): (Vec<_>, Vec<_>) = known.map(|(reason, _, points)| (reason, points)).unzip();
        Score { points: points.into_iter().sum::<i32>().clamp(0, 100), reasons }
    }

    fn is_business_email(&self, email: &str) -> bool {
        let domain = email.rsplit_once('@').map(|(_, domain)| domain.trim_end_matches('>').to_lowercase());
        domain.is_some_and(|domain| domain.contains('.') && !self.free_email_domains.contains(&domain))
    }
}

/// `80/100 (industry, phone)`
impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/100", self.points)?;
        if self.reasons.is_empty() { Ok(()) } else { write!(f, " ({})", self.reasons.join(", ")) }
    }
}

/// A comma-separated list, in lower case.
fn words(list: &str) -> Vec<String> {
    list.split(',').map(|word| word.trim().to_lowercase()).filter(|word| !word.is_empty()).collect()
}

/// Whether one of the phrases stands in the text as whole words.
fn contains_any(text: &str, phrases: &[String]) -> bool {
    let separated = |text: &str| {
        let words: Vec<_> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        format!(" {} ", words.join(" ").to_lowercase())
    };
    let text = separated(text);
    phrases.iter().any(|phrase| text.contains(&separated(phrase)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            industries: words("Energy, real estate"),
            industry_points: 20,
            budget_from: 5_000.0,
            budget_points: 10,
            decision_makers: words("head, ceo"),
            decision_maker_points: 25,
            free_email_domains: words("gmail.com"),
            business_email_points: 20,
            phone_points: 15,
            company_points: 10,
        }
    }

    #[test]
    fn points_are_given_for_what_is_known() {
        let lead = Lead {
            text: "Solar for a Real-Estate group".into(),
            company: "Deco Addict",
            position: "Head of Purchasing",
            email: "Ada <ada@deco.example.com>",
            phone: "+32 2 123 45 67",
            revenue: 5_000.0,
        };
        assert_eq!(
            rules().score(&lead).to_string(),
            "100/100 (industry, budget, decision maker, business e-mail, phone, company)"
        );
    }

    #[test]
    fn words_count_only_as_whole_words() {
        let lead = Lead {
            text: "Energyless".into(),
            company: "",
            position: "Headhunter",
            email: "someone@gmail.com",
            phone: "",
            revenue: 4_999.99,
        };
        assert_eq!(rules().score(&lead).to_string(), "0/100");
    }
}
