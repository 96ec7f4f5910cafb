//! What a futex wait is a wait for.

use serde::{Deserialize, Serialize};

/// Kind of a lock. A futex wait is not a lock wait: only the first four mean that somebody else must let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Mutual exclusion.
    Mutex,
    /// Readers waiting for a reader-writer lock.
    RwlockRead,
    /// Writers waiting for a reader-writer lock.
    RwlockWrite,
    /// Counting semaphore.
    Semaphore,
    /// Condition variable: usually an idle worker or an event.
    Condvar,
    /// One-time initialisation in progress elsewhere.
    Once,
    /// Barrier.
    Barrier,
    /// Waiting for a thread to end.
    Join,
    /// A parked worker with nothing to do.
    Idle,
    /// The runtime's own scheduling, garbage collection and the like.
    Runtime,
    /// No evidence for any of the above.
    Unknown,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Mutex,
        Self::RwlockRead,
        Self::RwlockWrite,
        Self::Semaphore,
        Self::Condvar,
        Self::Once,
        Self::Barrier,
        Self::Join,
        Self::Idle,
        Self::Runtime,
        Self::Unknown,
    ];

    /// Name as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mutex => "mutex",
            Self::RwlockRead => "rwlock_read",
            Self::RwlockWrite => "rwlock_write",
            Self::Semaphore => "semaphore",
            Self::Condvar => "condvar",
            Self::Once => "once",
            Self::Barrier => "barrier",
            Self::Join => "join",
            Self::Idle => "idle",
            Self::Runtime => "runtime",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a waiter of this kind is held up by a holder that must let go.
    #[must_use]
    pub const fn is_lock(self) -> bool {
        matches!(
            self,
            Self::Mutex | Self::RwlockRead | Self::RwlockWrite | Self::Semaphore | Self::Once
        )
    }

    /// Whether somebody must let go, or we cannot tell that nobody must.
    #[must_use]
    pub const fn may_be_lock(self) -> bool {
        self.is_lock() || matches!(self, Self::Unknown)
    }
}
