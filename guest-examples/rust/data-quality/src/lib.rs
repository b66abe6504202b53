//! Checks contacts, and tags those that need review.
//!
//! For rules on `res.partner`, when a contact is created or updated. It checks e-mail address, phone
//! number and address, and looks for duplicates. A contact with a problem gets a tag and an activity
//! that lists what is wrong; once nothing is wrong, the tag goes. Running it again changes nothing.

mod checks;

use triggerbox::{chatter::escape, prelude::*};

fn run(event: &Event) -> Result<String> {
    let name: String = event.param("tag")?;
    let tag = model("res.partner.category").ensure(&["name"], values! { "name" => name })?.id;
    let fields = [
        "name",
        "is_company",
        "parent_id",
        "email",
        "email_normalized",
        "phone",
        "vat",
        "street",
        "zip",
        "city",
        "country_id",
        "category_id",
        "user_id",
    ];
    let mut tagged = 0;
    for partner in event.read(&fields)? {
        let mut problems = problems(&partner)?;
        problems.extend(duplicates(&partner)?);
        let is_tagged = partner.ids("category_id")?.contains(&tag);
        match (problems.is_empty(), is_tagged) {
            (false, false) => {
                partner.relate("category_id", &[Command::Link(tag)])?;
                schedule_review(event, &partner, &problems)?;
            }
            (true, true) => partner.relate("category_id", &[Command::Unlink(tag)])?,
            _ => {}
        }
        tagged += usize::from(!problems.is_empty());
        for problem in problems {
            info!("{}: {problem}", partner.text("name")?);
        }
    }
    Ok(format!("{tagged} of {} contacts need review", event.records.len()))
}

/// What is wrong with the contact by itself.
fn problems(partner: &Row) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let (email, phone) = (partner.text("email")?, partner.text("phone")?);
    if email.is_empty() && phone.is_empty() {
        problems.push("neither e-mail address nor phone number".to_owned());
    }
    if !email.is_empty() && !checks::is_email(email) {
        problems.push(format!("\"{email}\" is not an e-mail address"));
    }
    if !phone.is_empty() && !checks::is_phone(phone) {
        problems.push(format!("\"{phone}\" is not a phone number"));
    }
    // A person at a company is reached at the company's address.
    if partner.link("parent_id")?.is_none() {
        let mut missing = Vec::new();
        for field in ["street", "zip", "city"] {
            if partner.text(field)?.trim().is_empty() {
                missing.push(field);
            }
        }
        if partner.link("country_id")?.is_none() {
            missing.push("country");
        }
        if !missing.is_empty() {
            problems.push(format!("the address has no {}", missing.join(", ")));
        }
    }
    Ok(problems)
}

/// Other contacts with the same e-mail address, or companies with the same VAT number.
fn duplicates(partner: &Row) -> Result<Vec<String>> {
    let (email, vat) = (partner.text("email_normalized")?, partner.text("vat")?);
    let mut same = Vec::new();
    if !email.is_empty() {
        same.push(domain![("email_normalized", "=", email)]);
    }
    if partner.bool("is_company")? && !vat.is_empty() {
        same.push(domain![("vat", "=", vat), ("is_company", "=", true)]);
    }
    let Some(same) = same.into_iter().reduce(Domain::or) else { return Ok(Vec::new()) };
    let others = domain![("id", "!=", partner.id)].and(same).order("id").limit(5);
    let others = model("res.partner").search_read(others, &["name"])?;
    others.iter().map(|other| Ok(format!("may be the same as {} ({})", other.text("name")?, other.id))).collect()
}

fn schedule_review(event: &Event, partner: &Row, problems: &[String]) -> Result<()> {
    let items: String = problems.iter().map(|problem| format!("<li>{}</li>", escape(problem))).collect();
    let due = event.today()? + event.param::<i64>("review_days")?.days();
    let mut activity = Activity::new("mail.mail_activity_data_todo", "Review the contact's data")
        .note(format!("<ul>{items}</ul>"))
        .deadline(due);
    activity.user_id = partner.link("user_id")?.map(|user| user.id);
    Ok(partner.schedule_activity(activity)?)
}

triggerbox::script!(run);
