//! What one host call may still use.

use std::time::Instant;

use crate::call::{Call, GroupPage, Page};

/// What one host call may still use of its run's limits. Whoever answers it may stop as soon as more than that is there: the
/// [`Meter`](crate::limits::Meter) refuses such an answer, and the script never sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// When the run's time is over; none: never.
    pub until: Option<Instant>,
    /// Records, groups and messages.
    pub records: u64,
    /// Bytes of what comes back, as [`Answer::byte_size`](crate::call::Answer::byte_size) counts them.
    pub bytes: u64,
}

impl Allowance {
    /// For those who are no run.
    pub const UNLIMITED: Self = Self { until: None, records: u64::MAX, bytes: u64::MAX };

    /// The same time and nothing else to mind: for what a host asks itself on its way to the answer.
    #[must_use]
    pub fn time_alone(self) -> Self {
        Self { until: self.until, ..Self::UNLIMITED }
    }

    /// Has a call ask for no more records than may come back and one: so many are enough to tell that there are too many.
    pub fn bound(&self, call: &mut Call) {
        let Ok(most) = u32::try_from(self.records.saturating_add(1)) else { return };
        match call {
            Call::Search { page: Page { limit, .. }, .. }
            | Call::SearchRead { page: Page { limit, .. }, .. }
            | Call::ReadGroup { page: GroupPage { limit, .. }, .. } => {
                // No limit is none, or zero, as Odoo has it.
                *limit = Some(limit.filter(|&asked| asked > 0).map_or(most, |asked| asked.min(most)));
            }
            Call::NameSearch { limit: limit @ 0, .. } => *limit = most,
            Call::NameSearch { limit, .. } | Call::ReadMessages { limit, .. } => *limit = most.min(*limit),
            _ => {}
        }
    }

    /// What an answer may still hold while it is made.
    #[must_use]
    pub fn room(&self) -> Room {
        Room { records: self.records.saturating_add(1), bytes: self.bytes.saturating_add(1) }
    }
}

/// What an answer may still hold while it is made: one record and one byte more than it may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    records: u64,
    bytes: u64,
}

impl Room {
    /// Room for anything.
    pub const ENDLESS: Self = Self { records: u64::MAX, bytes: u64::MAX };

    /// Whether there is room for anything: whoever asks is no run.
    #[must_use]
    pub fn is_endless(&self) -> bool {
        self.records == u64::MAX && self.bytes == u64::MAX
    }

    /// Takes room for a record, or a group.
    pub fn take_record(&mut self) {
        if self.records != u64::MAX {
            self.records = self.records.saturating_sub(1);
        }
    }

    /// Takes room for so many bytes.
    pub fn take(&mut self, bytes: u64) {
        if self.bytes != u64::MAX {
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// Whether the answer is more than it may be, whatever is added to it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.records == 0 || self.bytes == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::DomainSource;

    #[test]
    fn one_record_more_than_may_be_is_asked_for() {
        let may = Allowance { records: 10, ..Allowance::UNLIMITED };
        let search = |may: Allowance, limit| {
            let (model, domain) = ("crm.lead".to_owned(), DomainSource::Literal("[]".to_owned()));
            let mut call = Call::Search { model, domain, page: Page { limit, ..Page::default() } };
            may.bound(&mut call);
            let Call::Search { page, .. } = call else { panic!("{call:?}") };
            page.limit
        };
        let asked = [None, Some(0), Some(3), Some(99)];
        assert_eq!(asked.map(|asked| search(may, asked)), [11, 11, 3, 11].map(Some));
        assert_eq!(asked.map(|asked| search(Allowance::UNLIMITED, asked)), asked);
        let names = |may: Allowance, limit| {
            let mut call = Call::NameSearch { model: "crm.lead".to_owned(), text: String::new(), limit };
            may.bound(&mut call);
            let Call::NameSearch { limit, .. } = call else { panic!("{call:?}") };
            limit
        };
        assert_eq!([0, 3, 99].map(|asked| names(may, asked)), [11, 3, 11]);
        assert_eq!([0, 3, 99].map(|asked| names(Allowance::UNLIMITED, asked)), [0, 3, 99]);
    }

    #[test]
    fn what_has_no_room_left_is_over_its_limit() {
        let mut room = Allowance { records: 2, bytes: 100, until: None }.room();
        room.take(100);
        room.take_record();
        room.take_record();
        assert!(!room.is_over(), "just as much as may be");
        room.take(1);
        assert!(room.is_over());
        let mut endless = Allowance::UNLIMITED.room();
        endless.take(u64::MAX);
        endless.take_record();
        assert_eq!(endless, Room::ENDLESS);
    }
}
