//! What is to be told of one incident.

use std::time::Instant;

use crate::model::incident::{Change, Event, Incident};

/// What has happened, as a receiver needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// It is new.
    Opened,
    /// Its waiters have doubled.
    Doubled,
    /// It is known who holds it up, down to the root.
    Explained,
    /// It still goes on.
    Repeated,
    /// It is over.
    Resolved,
}

impl What {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Doubled => "doubled",
            Self::Explained => "explained",
            Self::Repeated => "repeated",
            Self::Resolved => "resolved",
        }
    }

    /// Of an incident that was open before the agent was started, nobody has to be told again.
    pub const fn of(change: &Change) -> Self {
        match change {
            Change::Opened { again: false } => Self::Opened,
            Change::Doubled => Self::Doubled,
            Change::Explained => Self::Explained,
            Change::Opened { again: true } | Change::Refreshed => Self::Repeated,
            Change::Resolved => Self::Resolved,
        }
    }

    /// What remains to be told when `newer` has happened before this was told: that it is new outlives everything but its
    /// end.
    pub const fn then(self, newer: Self) -> Self {
        match (self, newer) {
            (_, Self::Resolved) => Self::Resolved,
            (Self::Opened, _) | (_, Self::Opened) => Self::Opened,
            (Self::Doubled, _) | (_, Self::Doubled) => Self::Doubled,
            (Self::Explained, _) | (_, Self::Explained) => Self::Explained,
            (_, Self::Repeated) => Self::Repeated,
        }
    }
}

/// An incident with what is to be told of it.
#[derive(Clone, Debug)]
pub struct Notice {
    pub what: What,
    pub incident: Incident,
    /// When the newest of it was queued: from then on its time runs.
    pub queued_at: Instant,
}

impl Notice {
    pub fn of(event: &Event) -> Self {
        Self {
            what: What::of(&event.change),
            incident: event.incident.clone(),
            queued_at: Instant::now(),
        }
    }

    /// Brings it up to date with what has happened since.
    pub fn update(&mut self, newer: Self) {
        let what = self.what.then(newer.what);
        *self = Self { what, ..newer };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_state_and_all_that_was_not_told() {
        use What::{Doubled, Explained, Opened, Repeated, Resolved};
        for (older, newer, both) in [
            (Opened, Repeated, Opened),
            (Opened, Doubled, Opened),
            (Opened, Resolved, Resolved),
            (Resolved, Opened, Opened),
            (Resolved, Repeated, Repeated),
            (Doubled, Repeated, Doubled),
            (Repeated, Doubled, Doubled),
            (Opened, Explained, Opened),
            (Explained, Repeated, Explained),
            (Explained, Doubled, Doubled),
            (Explained, Resolved, Resolved),
            (Repeated, Resolved, Resolved),
        ] {
            assert_eq!(older.then(newer), both, "{older:?} then {newer:?}");
        }
        assert_eq!(What::of(&Change::Opened { again: true }), Repeated);
    }
}
