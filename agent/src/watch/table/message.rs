//! What goes into the table, and what comes out besides rows.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use holdup_abi::lock::LockKey;

use super::row::Identity;
use crate::model::{Holder, explanation::Deadlock, plan::PlanEntry};

/// Where a word is kept.
pub type Place = u32;
/// When a tick was, in tenths of a second since the watch began: what fits a word.
pub type Tick = u32;

/// A thread in a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Thread.
    pub tid: u32,
    /// Since when, on the monotonic clock; `None` when not known.
    pub since_ns: Option<u64>,
    /// It has waited for longer than is known.
    pub at_least: bool,
    /// Operation, see [`holdup_abi::futex`].
    pub op: u32,
    /// Value that it expected.
    pub value: u32,
}

/// What was found out about a word.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its place.
    pub place: Place,
    /// The word.
    pub key: LockKey,
    /// What it is; `None` when that could not be looked up, e.g. because its process is gone.
    pub identity: Option<Identity>,
    /// A stack was there to be judged by.
    pub had_stack: bool,
    /// Who holds it; only when somebody waited.
    pub held: Option<Held>,
}

/// Who holds a lock.
#[derive(Clone, Debug)]
pub struct Held {
    /// The holder.
    pub holder: Option<Holder>,
    /// It has ended.
    pub abandoned: bool,
    /// When the lock's word began to be read, on the monotonic clock.
    pub from_ns: u64,
    /// When it had been read.
    pub at_ns: u64,
}

/// What a view has besides rows.
#[derive(Clone, Debug)]
pub struct Moment {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub at_ns: u64,
    /// The same on the wall clock.
    pub at: SystemTime,
    /// What is attached.
    pub plan: Arc<[PlanEntry]>,
    /// What was lost.
    pub loss: BTreeMap<String, u64>,
    /// Circles.
    pub deadlocks: Vec<Deadlock>,
}
