//! Scores leads from 0 to 100, tags them, and schedules a follow-up for the best.
//!
//! For rules on `crm.lead`, when a lead is created or one of the fields that count changes. The score
//! is kept as one line of the description. Running it again changes nothing unless the score changes.

mod score;

use score::{Lead, Rules};
use triggerbox::prelude::*;

/// What the score's line in the description starts with.
const LABEL: &str = "Lead score: ";

fn run(event: &Event) -> Result<String> {
    let rules = Rules::from_parameters(event)?;
    let tags = Tags::ensure(event)?;
    let follow_up_above: i32 = event.param("follow_up_above")?;
    let follow_up_days: i64 = event.param("follow_up_days")?;

    let fields = [
        "name",
        "partner_name",
        "function",
        "email_from",
        "phone",
        "expected_revenue",
        "description",
        "tag_ids",
        "user_id",
    ];
    let mut results = Vec::new();
    for lead in event.read(&fields)? {
        let description = lead.text("description")?;
        let score = rules.score(&Lead {
            text: [lead.text("name")?, lead.text("partner_name")?, &without_score(description)].join(" "),
            company: lead.text("partner_name")?,
            position: lead.text("function")?,
            email: lead.text("email_from")?,
            phone: lead.text("phone")?,
            revenue: lead.f64("expected_revenue")?,
        });
        let before = previous_points(description);

        let described = with_score(description, &score.to_string());
        if described != description {
            lead.write(values! { "description" => described })?;
        }
        let changes = tags.changes(lead.ids("tag_ids")?, score.points);
        if !changes.is_empty() {
            lead.relate("tag_ids", &changes)?;
        }
        if score.points > follow_up_above && before.is_none_or(|points| points <= follow_up_above) {
            let due = event.today()? + follow_up_days.days();
            let mut activity = Activity::new("mail.mail_activity_data_call", "Call this lead").deadline(due);
            activity.user_id = lead.link("user_id")?.map(|user| user.id);
            lead.schedule_activity(activity)?;
        }
        results.push(format!("{} {}", lead.text("name")?, score.points));
    }
    Ok(results.join(", "))
}

/// The two tags and the scores they stand for.
struct Tags {
    hot: u32,
    hot_above: i32,
    warm: u32,
    warm_above: i32,
}

impl Tags {
    fn ensure(event: &Event) -> Result<Self> {
        let tag = |parameter: &str| -> Result<u32> {
            let name: String = event.param(parameter)?;
            Ok(model("crm.tag").ensure(&["name"], values! { "name" => name })?.id)
        };
        Ok(Self {
            hot: tag("hot_tag")?,
            hot_above: event.param("hot_above")?,
            warm: tag("warm_tag")?,
            warm_above: event.param("warm_above")?,
        })
    }

    /// What to change so that a lead has the tag of its score and not the other.
    fn changes(&self, present: &[u32], points: i32) -> Vec<Command> {
        let hot = points > self.hot_above;
        let warm = !hot && points > self.warm_above;
        [(self.hot, hot), (self.warm, warm)]
            .into_iter()
            .filter_map(|(tag, wanted)| match (present.contains(&tag), wanted) {
                (false, true) => Some(Command::Link(tag)),
                (true, false) => Some(Command::Unlink(tag)),
                _ => None,
            })
            .collect()
    }
}

/// The description is HTML: the score's text reaches from its label to the next tag.
fn score_range(description: &str) -> Option<std::ops::Range<usize>> {
    let start = description.find(LABEL)?;
    let rest = &description[start..];
    Some(start..start + rest.find('<').unwrap_or(rest.len()))
}

fn with_score(description: &str, score: &str) -> String {
    let line = format!("{LABEL}{score}");
    match score_range(description) {
        Some(range) => [&description[..range.start], &line, &description[range.end..]].concat(),
        None => format!("{description}<p>{line}</p>"),
    }
}

fn without_score(description: &str) -> String {
    match score_range(description) {
        Some(range) => [&description[..range.start], &description[range.end..]].concat(),
        None => description.to_owned(),
    }
}

fn previous_points(description: &str) -> Option<i32> {
    let line = &description[score_range(description)?];
    line[LABEL.len()..].split('/').next()?.parse().ok()
}

triggerbox::script!(run);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_one_line_of_the_description() {
        let first = with_score("<p>Wants a roof.</p>", "35/100 (phone, industry)");
        assert_eq!(first, "<p>Wants a roof.</p><p>Lead score: 35/100 (phone, industry)</p>");
        assert_eq!(previous_points(&first), Some(35));
        assert_eq!(without_score(&first), "<p>Wants a roof.</p><p></p>");
        let second = with_score(&first, "85/100");
        assert_eq!(second, "<p>Wants a roof.</p><p>Lead score: 85/100</p>");
        assert_eq!(with_score(&second, "85/100"), second);
        assert_eq!(previous_points("<p>Wants a roof.</p>"), None);
    }

    #[test]
    fn tags_follow_the_score() {
        let tags = Tags { hot: 1, hot_above: 70, warm: 2, warm_above: 50 };
        assert_eq!(tags.changes(&[9], 71), [Command::Link(1)]);
        assert_eq!(tags.changes(&[9, 1], 60), [Command::Unlink(1), Command::Link(2)]);
        assert_eq!(tags.changes(&[2], 50), [Command::Unlink(2)]);
        assert_eq!(tags.changes(&[1], 90), []);
    }
}
