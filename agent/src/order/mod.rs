//! Deadlocks that have not happened yet: circles in the order in which threads take locks.
//!
//! A thread that takes B while it holds A makes an edge from A to B. Threads that follow the edges of a circle, each one
//! edge, can come to wait for each other, whether they ever did so or not. This is `GoodLock` (Havelund, "Using Runtime
//! Analysis to Guide Model Checking of Java Programs", SPIN 2000), for any number of threads (Bensalem and Havelund,
//! "Dynamic Deadlock Analysis of Multi-Threaded Programs", HVC 2005; Joshi, Park, Sen and Naik, `iGoodlock`, PLDI 2009),
//! as lockdep does for classes of locks (`Documentation/locking/lockdep-design.rst` of Linux) and Helgrind for pairs.
//!
//! A circle is reported when its threads can be in it at the same time and when each can be made to wait:
//!
//! - **Gate locks.** What the threads hold, on all edges together, must be disjoint: a lock that two of them need first
//!   keeps them from meeting. A gate that both hold as readers keeps nobody out.
//! - **Trylock.** A call that never waits cannot wait for ever: its edge is left out. The lock that it got is held like any
//!   other, so edges from there on count.
//! - **Readers.** A reader does not wait for a reader. It may do so where readers stand in line behind a writer that
//!   waits (glibc's `PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP`, Rust's own locks): for these, once a writer was seen,
//!   a reader that meets a reader counts as waiting. glibc's and musl's default locks let readers pass.
//! - **Threads.** Each edge needs a thread of its own. One thread alone may take locks in any order it likes; such circles
//!   are counted and not reported. That one thread ended before the other began is not known, and is reported.
//! - **Recursion** makes no edge: who holds a lock does not wait for it.
//! - **Reuse.** A lock that was destroyed and made again at its old address is another one ([`input::LockId`]).
//! - **Hierarchies.** Locks are told apart by address, not by class, so that hand-over-hand locking along a list, or parent
//!   before child in a tree, has no circle where its instances have an order. The price is that an order must be broken
//!   with the very same locks to be found.
//!
//! Circles are minimal: one is left out when some of its locks make a circle by themselves. [`cycles`] searches with
//! bounds, short circles first, and tells what it did not get to. [`graph`] puts edges together that mean the same.

pub mod check;
pub mod cycles;
pub mod graph;
pub mod input;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::{
    cycles::{Cycle, Found},
    graph::{Graph, Variant},
    input::{Edge, Held, Input, LockId, Threads},
};

/// Bounds of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest circle looked for.
    pub length: usize,
    /// Most circles at different places that are told apart.
    pub cycles: usize,
    /// Steps spent on circles of one length in one tangle.
    pub steps: u64,
    /// Time spent on everything.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            length: 64,
            cycles: 256,
            steps: 500_000,
            time: Duration::from_secs(1),
        }
    }
}
