//! How a script ends without success.

use std::{any::Any, error, fmt, result};

use crate::{Error, ErrorKind, bindings::triggerbox::automation::events};

/// What a script returns: `Ok` applies what it staged, `Err` applies nothing.
///
/// `Result` alone is `Result<Outcome>`; `Result<()>` and `Result<String>` do as well.
pub type Result<T = crate::Outcome, E = Failure> = result::Result<T, E>;

/// Why a script did not succeed; nothing it staged is applied.
///
/// `?` makes one of every error. Made by hand with [`user_error!`](crate::user_error) and
/// [`fail!`](crate::fail).
//
// Deliberately not a `std::error::Error`: that leaves room for the conversion from every error.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// A text for the user who caused the event; Odoo's `UserError`.
    UserError(String),
    /// A text for the run history.
    Failed(String),
}

impl Failure {
    #[doc(hidden)]
    pub fn into_contract(self) -> events::Failure {
        match self {
            Self::UserError(text) => events::Failure::UserError(text),
            Self::Failed(text) => events::Failure::Failed(text),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserError(text) | Self::Failed(text) => f.write_str(text),
        }
    }
}

impl<E: error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        // The generated error prints itself as a data structure; people get its code and its message.
        let text = match (&error as &dyn Any).downcast_ref::<Error>() {
            Some(error) => error.text(),
            None => error.to_string(),
        };
        Self::Failed(text)
    }
}

impl Error {
    /// An error of the script's own making, for helpers that return the same error as the host's calls.
    pub fn new(kind: ErrorKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, code: code.into(), message: message.into(), field: None }
    }

    pub(crate) fn invalid(code: &str, field: &str, message: String) -> Self {
        Self { field: Some(field.to_owned()), ..Self::new(ErrorKind::Invalid, code, message) }
    }

    /// Code and message as one line: `unknown-field: crm.lead has no field "nmae"; did you mean "name"?`
    pub fn text(&self) -> String {
        format!("{}: {}", self.code, self.message)
    }
}

/// Ends the script with a text for the user who caused the event, like raising Odoo's `UserError`.
///
/// ```no_run
/// # use triggerbox::prelude::*;
/// # fn run(total: f64) -> Result<()> {
/// if total < 0.0 {
///     user_error!("the total is {total}; it cannot be negative");
/// }
/// # Ok(()) }
/// ```
#[macro_export]
macro_rules! user_error {
    ($($text:tt)*) => {
        return ::core::result::Result::Err($crate::Failure::UserError(::std::format!($($text)*)))
    };
}

/// Ends the script with a text for the run history.
#[macro_export]
macro_rules! fail {
    ($($text:tt)*) => {
        return ::core::result::Result::Err($crate::Failure::Failed(::std::format!($($text)*)))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_call() -> result::Result<(), Error> {
        Err(Error::invalid("unknown-field", "nmae", "no such field".into()))
    }

    #[test]
    fn question_mark_keeps_code_and_message_of_host_errors() {
        fn script() -> Result<()> {
            host_call()?;
            Ok(())
        }
        assert_eq!(script(), Err(Failure::Failed("unknown-field: no such field".into())));
    }

    #[test]
    fn question_mark_takes_any_error() {
        fn script() -> Result<i32> {
            Ok("seven".parse::<i32>()?)
        }
        assert_eq!(script(), Err(Failure::Failed("invalid digit found in string".into())));
    }

    #[test]
    fn user_error_and_fail_format_their_text() {
        fn refuse(n: u32) -> Result<()> {
            if n > 1 {
                user_error!("{n} is too many");
            }
            fail!("only {}", n)
        }
        assert_eq!(refuse(2), Err(Failure::UserError("2 is too many".into())));
        assert_eq!(refuse(1), Err(Failure::Failed("only 1".into())));
    }
}
