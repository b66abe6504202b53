//! The record's discussion: notes, messages, activities, followers.

use time::Date;

use crate::{Error, RecordRef, bindings::triggerbox::automation::chatter as host, date::date_text};

pub use host::{Activity, Attachment, BodyFormat, Message, Posted};

/// A text as HTML that shows it as it is.
///
/// ```
/// # use triggerbox::chatter::escape;
/// assert_eq!(escape("<5 & >3"), "&lt;5 &amp; &gt;3");
/// ```
pub fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

impl RecordRef {
    /// Stages an internal note.
    pub fn post_note(&self, message: impl Into<Message>) -> Result<(), Error> {
        host::post_note(self, &message.into())
    }

    /// Stages a message that the followers are notified of.
    pub fn post_message(&self, message: impl Into<Message>) -> Result<(), Error> {
        host::post_message(self, &message.into())
    }

    /// Stages something to do.
    ///
    /// ```no_run
    /// # use triggerbox::prelude::*;
    /// # fn run(event: &Event, lead: RecordRef) -> Result<()> {
    /// lead.schedule_activity(Activity::new("To-Do", "Call back").deadline(event.today()? + 3.days()))?;
    /// # Ok(()) }
    /// ```
    pub fn schedule_activity(&self, activity: Activity) -> Result<(), Error> {
        host::schedule_activity(self, &activity)
    }

    /// Stages that all activities of this kind are done; returns how many there are.
    pub fn complete_activities(&self, kind: &str, feedback: Option<&str>) -> Result<u32, Error> {
        host::complete_activities(self, kind, feedback)
    }

    /// Stages followers, by partner.
    pub fn add_followers(&self, partner_ids: &[u32]) -> Result<(), Error> {
        host::add_followers(self, partner_ids)
    }

    /// Stages that these partners no longer follow.
    pub fn remove_followers(&self, partner_ids: &[u32]) -> Result<(), Error> {
        host::remove_followers(self, partner_ids)
    }

    /// The newest messages and notes first, those staged by this run included.
    pub fn messages(&self, limit: u32) -> Result<Vec<Posted>, Error> {
        host::read_messages(self, limit)
    }
}

impl Message {
    /// Shown as it is; special characters are escaped. A text alone does as well: `post_note("Done.")`.
    pub fn text(body: impl Into<String>) -> Self {
        Self::new(body.into(), BodyFormat::Text)
    }

    /// HTML, sanitised when it is stored. What comes from records goes through [`escape`].
    pub fn html(body: impl Into<String>) -> Self {
        Self::new(body.into(), BodyFormat::Html)
    }

    /// With a subject line.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Notifies these partners besides the followers.
    pub fn notify(mut self, partner_ids: &[u32]) -> Self {
        self.partner_ids.extend_from_slice(partner_ids);
        self
    }

    /// With a file.
    pub fn attach(mut self, name: impl Into<String>, mime_type: impl Into<String>, content: Vec<u8>) -> Self {
        self.attachments.push(Attachment { name: name.into(), mime_type: mime_type.into(), content });
        self
    }

    fn new(body: String, format: BodyFormat) -> Self {
        Self { body, format, subject: None, partner_ids: Vec::new(), attachments: Vec::new() }
    }
}

impl From<&str> for Message {
    fn from(body: &str) -> Self {
        Self::text(body)
    }
}

impl From<String> for Message {
    fn from(body: String) -> Self {
        Self::text(body)
    }
}

impl Activity {
    /// An activity of this type (`To-Do`, or an external id such as `mail.mail_activity_data_call`),
    /// for the run-as user, after the type's own delay.
    pub fn new(kind: impl Into<String>, summary: impl Into<String>) -> Self {
        Self { kind: kind.into(), summary: summary.into(), note: None, deadline: None, user_id: None }
    }

    /// Due on this day.
    pub fn deadline(mut self, date: Date) -> Self {
        self.deadline = Some(date_text(date));
        self
    }

    /// For this user.
    pub fn assign(mut self, user_id: u32) -> Self {
        self.user_id = Some(user_id);
        self
    }

    /// With more words, as HTML. What comes from records goes through [`escape`].
    pub fn note(mut self, html: impl Into<String>) -> Self {
        self.note = Some(html.into());
        self
    }
}
