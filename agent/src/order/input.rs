//! What the analysis is given: plain facts, wherever they come from.

use std::collections::{BTreeSet, HashSet};

use crate::model::entry::Mode;

/// One lock. An address that is used again after its lock was destroyed is another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockId {
    /// Process id. A lock that processes share is another one in each: their orders are looked at apart.
    pub tgid: u32,
    /// Tells the programs apart that had this process id.
    pub space: u32,
    /// Address that the program passes to its lock functions.
    pub address: u64,
    /// How many locks at this address were destroyed before.
    pub generation: u32,
}

/// A lock that a thread holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Held {
    /// Which.
    pub lock: LockId,
    /// How.
    pub mode: Mode,
}

/// Threads that did the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Threads {
    /// Thread ids that are known.
    pub known: BTreeSet<u32>,
    /// There were more than those.
    pub more: bool,
}

impl Threads {
    /// One thread.
    #[must_use]
    pub fn one(tid: u32) -> Self {
        Self {
            known: BTreeSet::from([tid]),
            more: false,
        }
    }

    /// Adds `others`.
    pub fn add(&mut self, others: &Self) {
        self.known.extend(&others.known);
        self.more |= others.more;
    }

    /// How many there were, at least.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.known.len() as u64 + u64::from(self.more)
    }
}

/// A lock was taken while another one was held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// What was held.
    pub held: Held,
    /// What was taken, or waited for.
    pub acquired: Held,
    /// The call would not have waited (`trylock`). How `held` was taken does not matter: a lock that was got by trying is
    /// held like any other.
    pub trylock: bool,
    /// What else the thread held.
    pub gates: Vec<Held>,
    /// Who.
    pub threads: Threads,
    /// How often.
    pub count: u64,
    /// Stands for the places in the code where both were taken: equal where they are.
    pub place: u64,
}

/// All that is known of the order of locks.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// In any order; the same pair of locks may come up many times.
    pub edges: Vec<Edge>,
    /// Reader-writer locks whose readers stand in line behind writers that wait, and that were taken for writing: there a
    /// reader can hold up a reader.
    pub readers_queue: HashSet<LockId>,
}
