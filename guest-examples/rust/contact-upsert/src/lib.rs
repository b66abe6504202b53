//! Makes an inquiry a contact, a company, an opportunity and a follow-up.
//!
//! For webhooks (a form on a web site sends JSON) or by hand, with parameters. What is already there
//! is found and used: the contact by e-mail address, the company by name, the opportunity by contact
//! and subject. Two deliveries of the same inquiry, even at the same time, end with one of each.

use serde::Deserialize;
use triggerbox::prelude::*;

/// What somebody wrote.
#[derive(Debug, Deserialize)]
struct Inquiry {
    email: String,
    name: String,
    #[serde(default)]
    company: String,
    #[serde(default)]
    phone: String,
    subject: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    expected_revenue: f64,
}

fn run(event: &Event) -> Result<Outcome> {
    let inquiry = read_inquiry(event)?;
    let contact = contact(&inquiry)?;
    let lead = opportunity(event, &inquiry, &contact)?;
    let text = if lead.is_provisional() { "New opportunity" } else { "Already there: opportunity" };
    let message = format!("{text} {} for {}", lead.mention()?, contact.mention()?);
    Ok(Outcome::message(message))
}

fn read_inquiry(event: &Event) -> Result<Inquiry> {
    let mut inquiry = match &event.trigger {
        Trigger::Webhook(call) => match triggerbox::serde_json::from_slice(&call.body) {
            Ok(inquiry) => inquiry,
            Err(error) => user_error!("the inquiry is not understood: {error}"),
        },
        _ => Inquiry {
            email: event.param("email")?,
            name: event.param("name")?,
            company: event.param("company")?,
            phone: event.param("phone")?,
            subject: event.param("subject")?,
            message: event.param("message")?,
            expected_revenue: event.param("expected_revenue")?,
        },
    };
    inquiry.email = inquiry.email.trim().to_lowercase();
    for (what, text) in
        [("an e-mail address", &inquiry.email), ("a name", &inquiry.name), ("a subject", &inquiry.subject)]
    {
        if text.trim().is_empty() {
            user_error!("the inquiry needs {what}");
        }
    }
    Ok(inquiry)
}

/// The contact with this e-mail address, created with its company if there is none.
fn contact(inquiry: &Inquiry) -> Result<RecordRef> {
    let partners = model("res.partner");
    // Odoo keeps the address in lower case, without the name, for exactly this.
    let known = domain![("email_normalized", "=", &inquiry.email)].order("is_company, id");
    if let Some(partner) = partners.search_first(known, &["name"])? {
        return Ok(partner.record().clone());
    }
    let company = match inquiry.company.trim() {
        "" => None,
        name => Some(partners.ensure(&["name", "is_company"], values! { "name" => name, "is_company" => true })?.id),
    };
    let mut values = values! {
        "email" => &inquiry.email, "name" => inquiry.name.trim(), "is_company" => false, "parent_id" => company,
    };
    if !inquiry.phone.is_empty() {
        values.set("phone", &inquiry.phone);
    }
    Ok(partners.ensure(&["email"], values)?)
}

/// The contact's opportunity of this name in the first stage. A new one gets a follow-up.
fn opportunity(event: &Event, inquiry: &Inquiry, contact: &RecordRef) -> Result<RecordRef> {
    let Some(first_stage) = model("crm.stage").search(Domain::all().order("sequence, id").limit(1))?.first().copied()
    else {
        fail!("there is no stage to put an opportunity in; create one");
    };
    let responsible: Option<u32> = event.param("responsible")?;
    let lead = model("crm.lead").ensure(
        &["name", "type", "partner_id", "stage_id"],
        values! {
            "name" => inquiry.subject.trim(),
            "type" => "opportunity",
            "partner_id" => contact.id,
            "stage_id" => first_stage,
            "email_from" => &inquiry.email,
            "expected_revenue" => inquiry.expected_revenue,
            "description" => html_lines(&inquiry.message),
            "user_id" => responsible.unwrap_or(event.run_as.id),
        },
    )?;
    if lead.is_provisional() {
        let due = event.today()? + event.param::<i64>("follow_up_days")?.days();
        let mut activity = Activity::new("mail.mail_activity_data_todo", "Answer the inquiry").deadline(due);
        activity.user_id = responsible;
        lead.schedule_activity(activity)?;
    }
    Ok(lead)
}

/// Text as HTML, with its lines.
fn html_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(triggerbox::chatter::escape).collect();
    lines.join("<br>")
}

triggerbox::script!(run);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_lines_and_markup_stays_text() {
        assert_eq!(html_lines("one\n<b>two</b>"), "one<br>&lt;b&gt;two&lt;/b&gt;");
    }
}
