//! What is attached.

use std::{
    fmt, io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// How places were attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// All places of a file in one call (Linux 6.6).
    Multi,
    /// One perf event per place (Linux 5.15).
    Single,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Multi => "uprobe_multi",
            Self::Single => "one perf event each",
        })
    }
}

/// Descriptors of links, which whoever asked for them and [`super::Uprobes`] can both let go of.
pub(super) type Held = Mutex<Vec<OwnedFd>>;

/// Lets go of them: the kernel puts the original instructions back.
pub(super) fn let_go(held: &Held) {
    held.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// What is attached. Dropping it detaches: the kernel puts the original instructions back.
#[derive(Debug)]
pub struct Links {
    held: Arc<Held>,
    /// Places attached.
    pub attached: usize,
    /// Indices of the places that the kernel refused, with what it said: an instruction that it cannot probe, or a file
    /// that is gone.
    pub refused: Vec<(usize, io::Error)>,
    /// How it was done.
    pub way: Way,
}

impl Links {
    pub(super) fn new(way: Way) -> Self {
        Self {
            held: Arc::default(),
            attached: 0,
            refused: Vec::new(),
            way,
        }
    }

    pub(super) fn add(&mut self, link: OwnedFd, places: usize) {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(link);
        self.attached += places;
    }

    pub(super) fn take(&mut self, index: usize, link: io::Result<OwnedFd>) {
        match link {
            Ok(link) => self.add(link, 1),
            Err(error) => self.refused.push((index, error)),
        }
    }

    pub(super) fn held(&self) -> Weak<Held> {
        Arc::downgrade(&self.held)
    }

    /// Takes over what `other` has.
    pub(super) fn replace(held: &Held, other: &Self) {
        let mut new = other.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held.lock().unwrap_or_else(PoisonError::into_inner) = std::mem::take(&mut *new);
    }

    /// Calls to the kernel that it took, which is as many as there are descriptors open for it.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        // Somebody may be looking at it through a weak reference just now.
        let_go(&self.held);
    }
}
