//! The run's log. Written with [`debug!`](crate::debug), [`info!`](crate::info), [`warn!`](crate::warn)
//! and [`error!`](crate::error), or with [`log!`](crate::log!) where the level is a value.

pub use crate::bindings::triggerbox::automation::log::Level;

/// Writes a line. Over the log limits, lines are dropped with one marker; that never ends a run.
pub fn write(level: Level, message: &str) {
    crate::bindings::triggerbox::automation::log::write(level, message);
}

/// Logs a line at a level, with the arguments of `format!`: `log!(Level::Info, "{count} done")`.
#[macro_export]
macro_rules! log {
    ($level:expr, $($text:tt)*) => { $crate::log::write($level, &::std::format!($($text)*)) };
}

/// Logs a line at level debug, with the arguments of `format!`.
#[macro_export]
macro_rules! debug {
    ($($text:tt)*) => { $crate::log::write($crate::log::Level::Debug, &::std::format!($($text)*)) };
}

/// Logs a line at level info, with the arguments of `format!`.
#[macro_export]
macro_rules! info {
    ($($text:tt)*) => { $crate::log::write($crate::log::Level::Info, &::std::format!($($text)*)) };
}

/// Logs a line at level warning, with the arguments of `format!`.
#[macro_export]
macro_rules! warn {
    ($($text:tt)*) => { $crate::log::write($crate::log::Level::Warning, &::std::format!($($text)*)) };
}

/// Logs a line at level error, with the arguments of `format!`. It does not end the run.
#[macro_export]
macro_rules! error {
    ($($text:tt)*) => { $crate::log::write($crate::log::Level::Error, &::std::format!($($text)*)) };
}
