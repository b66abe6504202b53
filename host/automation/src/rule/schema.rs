//! How the parts of a rule that are not defined here look in the API's document. What they are and how they are read is
//! in the crate of the model.

use utoipa::ToSchema;

/// A right on one model.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "kebab-case")]
pub struct Grant {
    /// Technical name, in full: there are no wildcards.
    pub model: String,
    /// What may be done: `read`, `write`, `create`, `unlink`, `note`, `message`, `activity`, `follow`, `call`.
    pub operations: Vec<String>,
    /// Which fields may be read, written or set on creation.
    pub fields: Option<Vec<String>>,
    /// Which of `fields` tell records apart: then one is only created by an `ensure` with these keys, which finds it if it is
    /// there already.
    pub keys: Option<Vec<String>>,
    /// Which methods may be called.
    pub methods: Option<Vec<String>>,
    /// Which of `methods` change nothing and may therefore answer at once.
    pub read_only_methods: Option<Vec<String>>,
    /// Only records that match this literal domain; none: all.
    pub domain: Option<String>,
}

/// A right to send requests to one address, or to all below a path.
#[derive(Debug, ToSchema)]
pub struct HttpGrant {
    /// Upper case.
    pub methods: Vec<String>,
    /// `https://slack.com/api/chat.postMessage`; a path that ends in `/*` covers all paths below it.
    pub url: String,
    /// The address may be a private one: loopback, a local network.
    pub private: Option<bool>,
}
