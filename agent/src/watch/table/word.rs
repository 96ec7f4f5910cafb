//! A futex word as the table has it: small, since there may be hundreds of thousands.

use holdup_abi::lock::LockKey;

use super::{Parked, Place, Tick};
use crate::model::watch::{Counts, ProcessKey};

/// How well a word is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Nobody was asked, or has answered.
    New,
    /// It was judged, and nothing told what it is.
    Unknown,
    /// It was judged by its memory alone: a stack may tell more.
    Provisional,
    /// It is known.
    Known,
}

/// Threads that wait for a word in one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiters {
    /// How many.
    pub count: u32,
    /// Thread that has waited longest.
    pub oldest_tid: u32,
    /// Since when, on the monotonic clock; `u64::MAX` when not known.
    pub oldest_since_ns: u64,
    /// Some have waited for longer than is known.
    pub at_least: bool,
    /// Operation of the oldest wait, see [`holdup_abi::futex`].
    pub op: u32,
    /// Value that it expected in the word.
    pub value: u32,
}

/// A word.
#[derive(Clone, Debug)]
pub struct Word {
    /// Which.
    pub key: LockKey,
    /// Its row.
    pub row: u32,
    /// Finished waits when it was last looked at.
    pub waits: u64,
    /// Tick in which it was last seen to change, or to be waited for.
    pub changed: Tick,
    /// Who waits, in tick `changed` if anybody does.
    pub waiters: Waiters,
    /// How well it is known.
    pub naming: Naming,
    /// Times that it was judged in vain.
    pub tries: u8,
    /// A question is on its way.
    pub is_asked: bool,
    /// The word belongs to a thread, and stands for one lock after another.
    pub changes: bool,
    /// When it is worth asking.
    pub ask_at: Tick,
    /// Beginning of the wait that was last asked about, see [`Waiters::oldest_since_ns`].
    pub asked_since_ns: u64,
    /// What it had counted when it came to its row; `None`: nothing.
    pub origin: Option<Box<Counts>>,
}

/// Most times that a word is judged without a new stack.
const MAX_TRIES: u8 = 6;
/// Tenths of a second that a word without waiters is given to be sampled before its memory alone is asked.
const PATIENCE: Tick = 20;
/// Tenths of a second for which a word without a name is not shown.
const WITHHELD: Tick = 100;
/// Tenths of a second after which a word that was judged in vain is judged again for the first time.
const FIRST_PAUSE: Tick = 10;

impl Word {
    /// One that was not there before.
    #[must_use]
    pub fn new(key: LockKey, row: u32, now: Tick) -> Self {
        Self {
            key,
            row,
            waits: 0,
            changed: now,
            waiters: Waiters::default(),
            naming: Naming::New,
            tries: 0,
            is_asked: false,
            changes: false,
            ask_at: now.wrapping_add(PATIENCE),
            asked_since_ns: 0,
            origin: None,
        }
    }

    /// Its process.
    #[must_use]
    pub const fn process(&self) -> ProcessKey {
        ProcessKey {
            pid: self.key.tgid,
            generation: self.key.generation,
        }
    }

    /// Counts a waiter in.
    pub fn waits(&mut self, waiter: &Parked) {
        let waiters = &mut self.waiters;
        let since_ns = waiter.since_ns.unwrap_or(u64::MAX);
        if waiters.count == 0 || since_ns < waiters.oldest_since_ns {
            waiters.oldest_tid = waiter.tid;
            waiters.oldest_since_ns = since_ns;
            waiters.op = waiter.op;
            waiters.value = waiter.value;
        }
        waiters.at_least |= waiter.at_least;
        waiters.count += 1;
    }

    /// Whether it is new, and so short a time that a name for it may be on its way.
    #[must_use]
    pub const fn may_be_named_soon(&self, now: Tick) -> bool {
        let age = now.wrapping_sub(self.ask_at.wrapping_sub(PATIENCE)) as i32;
        matches!(self.naming, Naming::New) && age < WITHHELD as i32
    }

    /// Whether its name is worth asking for now that somebody waits for it.
    #[must_use]
    pub const fn wants_name(&self, now: Tick) -> bool {
        // The same wait has the same answer.
        let is_another = self.waiters.oldest_since_ns != self.asked_since_ns;
        match self.naming {
            _ if self.is_asked => false,
            Naming::New => true,
            Naming::Unknown => self.tries < MAX_TRIES && now.wrapping_sub(self.ask_at) as i32 >= 0,
            Naming::Provisional => is_another,
            Naming::Known => self.changes && is_another,
        }
    }

    /// It was judged, and stays unknown: not again too soon.
    pub const fn in_vain(&mut self, now: Tick) {
        self.tries = self.tries.saturating_add(1);
        let shift = if self.tries < MAX_TRIES {
            self.tries
        } else {
            MAX_TRIES
        };
        self.ask_at = now.wrapping_add(FIRST_PAUSE << shift);
    }
}

/// Words by place.
#[derive(Debug, Default)]
pub struct Words(pub(super) Vec<Option<Word>>);

impl Words {
    /// The word at a place.
    #[must_use]
    pub fn get(&self, place: Place) -> Option<&Word> {
        self.0.get(place as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut Word> {
        self.0.get_mut(place as usize)?.as_mut()
    }

    pub(super) fn slot(&mut self, place: Place) -> &mut Option<Word> {
        let index = place as usize;
        if index >= self.0.len() {
            self.0.resize(index + 1, None);
        }
        &mut self.0[index]
    }
}
