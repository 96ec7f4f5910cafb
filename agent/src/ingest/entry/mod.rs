//! What `--probe entry` has recorded, as plain values: locks, pairs of locks, what threads hold now, and mistakes.

mod gather;
mod read;
mod reclaim;

use std::{collections::BTreeMap, rc::Rc};

use holdup_abi::entry::{Lock, MODE_AFTER_WAIT, MODE_READ, MODE_TIMED, MODE_TRY};

pub use self::{
    gather::{Gather, Unwind, decode},
    read::read,
    reclaim::Reclaim,
};
use crate::{model::RawFrame, symbol::Space};

/// Call path of an acquisition or another call, innermost frame first: the caller of the lock function comes first. Empty
/// when it could not be read or its record was lost.
pub type Stack = Rc<[RawFrame]>;

/// Everything at one moment.
#[derive(Clone, Debug, Default)]
pub struct EntryData {
    /// Destroyed locks that were given up to make room: nobody had waited for them, no other lock was held with them.
    pub forgotten: u64,
    /// Locks by slot.
    pub locks: BTreeMap<u32, Lock>,
    /// Pairs of locks, each with the set of locks that were held. The same pair comes several times when it was met with
    /// different sets or in different modes.
    pub edges: Vec<Edge>,
    /// The longest holds that were told, at most one for a lock. Others may have been longer, by less than twice.
    pub long_holds: Vec<LongHold>,
    /// What threads hold or ask for now.
    pub now: Vec<Now>,
    /// Mistakes, in the order in which they were made.
    pub mistakes: Vec<Mistake>,
    /// Events that there was no room for in user space: stacks of edges and holds, and mistakes.
    pub dropped: u64,
}

/// How a lock is held or asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mode(pub u32);

impl Mode {
    /// With other readers.
    #[must_use]
    pub const fn reads(self) -> bool {
        self.0 & MODE_READ != 0
    }

    /// By a call that never waits.
    #[must_use]
    pub const fn tries(self) -> bool {
        self.0 & MODE_TRY != 0
    }

    /// By a call that gives up after a time.
    #[must_use]
    pub const fn is_timed(self) -> bool {
        self.0 & MODE_TIMED != 0
    }

    /// By the return from a wait on a condition variable.
    #[must_use]
    pub const fn is_after_wait(self) -> bool {
        self.0 & MODE_AFTER_WAIT != 0
    }
}

/// A lock that a thread holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Held {
    /// Slot of the lock.
    pub slot: u32,
    /// How.
    pub mode: Mode,
}

/// One lock asked for while another was held.
#[derive(Clone, Debug)]
pub struct Edge {
    /// The lock that was held.
    pub held: Held,
    /// The lock that was asked for. A try is noted only when it succeeded; it cannot wait.
    pub asked: Held,
    /// How often.
    pub count: u64,
    /// `CLOCK_MONOTONIC` time of the first in nanoseconds.
    pub first_ns: u64,
    /// Thread of the first.
    pub tid: u32,
    /// Other threads that did so: of those whose ids are alike modulo 8, the last one.
    pub others: Vec<u32>,
    /// There was another one, and it is not known which.
    pub more: bool,
    /// All locks that the thread held, `held` included. `None` when there were others and its record was lost: nothing is
    /// known of gates then.
    pub set: Option<Vec<Held>>,
    /// Name of the thread of the first; empty when its record was lost.
    pub comm: String,
    /// Where `held` was acquired.
    pub held_stack: Stack,
    /// Where `asked` was asked for.
    pub asked_stack: Stack,
}

/// A hold that lasted.
#[derive(Clone, Debug)]
pub struct LongHold {
    /// Slot of the lock.
    pub slot: u32,
    /// Thread that held it.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// How long, in nanoseconds.
    pub held_ns: u64,
    /// `CLOCK_MONOTONIC` time of the release in nanoseconds.
    pub at_ns: u64,
    /// Where it was acquired.
    pub acquired: Stack,
    /// Where it was released.
    pub released: Stack,
}

/// What a thread does with a lock now.
#[derive(Clone, Debug)]
pub struct Now {
    /// Thread.
    pub tid: u32,
    /// Its process and program.
    pub space: Space,
    /// The lock, or the condition variable.
    pub lock: Held,
    /// It is held; else it is asked for or waited on.
    pub is_held: bool,
    /// `CLOCK_MONOTONIC` time since which, in nanoseconds.
    pub since_ns: u64,
    /// How often it was taken again.
    pub depth: u32,
    /// Where.
    pub stack: Stack,
}

/// Something that no program should do.
#[derive(Clone, Debug)]
pub struct Mistake {
    /// What.
    pub what: What,
    /// Thread that did it.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// Its process and program.
    pub space: Space,
    /// `CLOCK_MONOTONIC` time in nanoseconds.
    pub at_ns: u64,
    /// Locks that the thread held.
    pub set: Vec<Held>,
    /// Where the lock was acquired that it held; empty when it is about none.
    pub acquired: Stack,
    /// Where it was done; empty for the end of a thread.
    pub stack: Stack,
}

/// A kind of mistake. Numbers are slots.
#[derive(Clone, Debug)]
pub enum What {
    /// A wait on a condition variable with another lock held.
    WaitHolding {
        /// Slot of the lock, which is not the condition variable's mutex.
        held: u32,
        /// Slot of the condition variable.
        condvar: u32,
    },
    /// A wait on a condition variable that has not ended, and began after the last signal, which nobody waited for.
    LostWakeup {
        /// Slot of the condition variable.
        condvar: u32,
        /// Thread that waits. [`Mistake::tid`] is the one that signalled.
        waiter_tid: u32,
        /// `CLOCK_MONOTONIC` time since which it waits, in nanoseconds.
        waits_since_ns: u64,
        /// Where it waits. [`Mistake::stack`] is where it was signalled, or empty: only some signals are sampled.
        waits: Stack,
    },
    /// A process forked while the thread held a lock: the child has a copy that nobody will release.
    ForkHolding {
        /// Slot of the lock.
        held: u32,
    },
    /// A thread ended with a lock held.
    ExitHolding {
        /// Slot of the lock.
        held: u32,
    },
}
