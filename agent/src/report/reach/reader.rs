//! Threads of our own that read from other processes and may not come back.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Most that may be away at once before nothing is read any more.
const MAX_READERS: usize = 8;

/// Those that are.
static READERS: AtomicUsize = AtomicUsize::new(0);

/// Counts a reader for as long as it lives.
#[derive(Debug)]
pub struct Reader(());

impl Reader {
    /// `None` when too many are away.
    #[must_use]
    pub fn new() -> Option<Self> {
        let count = |readers| (readers < MAX_READERS).then_some(readers + 1);
        READERS
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count)
            .ok()
            .map(|_| Self(()))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        READERS.fetch_sub(1, Ordering::Relaxed);
    }
}
