//! What goes on while recording: samples are unwound as they come, so that a process may die afterwards.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use holdup_abi::{golang::SEMAPHORE, lock::LockKey, record::WaitSample};

use super::{
    budget::Budget,
    goroutines::live::Live,
    holds::Gathered,
    lock::space_of,
    process::Processes,
    reach::sharers::Sharers,
    stacks::Stacks,
    verdict::Keepsake,
    waiter::{self, Waiter},
};
use crate::{
    ingest::{
        decode::{self, Record, Stack},
        entry::{self, Gather},
        plane::Plane,
    },
    model::RawFrame,
    proc::memory::Copied,
    runtime::go::{Program, ages::Ages},
    symbol::{Limits, Space, Symbols},
};

/// Locks whose surroundings are kept.
const MAX_KEEPSAKES: usize = 65_536;
/// Threads per lock that are unwound when recording begins.
const FIRST_LOOK_PER_LOCK: usize = 64;

/// State of a recording in user space.
#[expect(
    missing_debug_implementations,
    reason = "symbol caches are not worth printing"
)]
pub struct Engine {
    /// Modules, unwinding tables and symbols.
    pub symbols: Symbols,
    /// Call paths by lock.
    pub stacks: Stacks,
    /// Least time between two samples of one lock in nanoseconds. A release that is sampled stands for those in the time
    /// before it that were not: long holds count by their length, short ones by how often they are met.
    sample_interval_ns: u64,
    /// Goroutines that were sampled when they parked.
    pub live: Live,
    /// Releases.
    pub gathered: Gathered,
    /// Calls of lock functions.
    pub entry: Gather,
    /// Processes met.
    pub processes: Processes,
    /// Memory around futex words.
    pub keepsakes: HashMap<LockKey, Keepsake>,
    /// Processes that share memory, as of the report that is being made.
    pub sharers: Sharers,
    /// Since when goroutines wait, by looks while recording.
    pub goroutines: HashMap<Space, Ages>,
    /// When chains are not followed any further, if before they come to their own bounds.
    pub deadline: Option<Instant>,
    /// Chains into other processes that were not followed further, within the bounds.
    pub chains_cut: u64,
    undecodable: u64,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            symbols: Symbols::new(Limits::default()),
            stacks: Stacks::default(),
            live: Live::default(),
            gathered: Gathered::default(),
            sample_interval_ns: 0,
            entry: Gather::default(),
            processes: Processes::default(),
            keepsakes: HashMap::new(),
            sharers: Sharers::default(),
            goroutines: HashMap::new(),
            deadline: None,
            chains_cut: 0,
            undecodable: 0,
        }
    }
}

impl Engine {
    /// Of a recording that samples a lock at most once in `sample_interval_ns`.
    #[must_use]
    pub fn sampling(sample_interval_ns: u64) -> Self {
        Self {
            sample_interval_ns,
            ..Self::default()
        }
    }

    /// Takes one ring buffer record.
    pub fn record(&mut self, bytes: &[u8]) {
        if let Some(event) = entry::decode(bytes) {
            let Self { entry, symbols, .. } = self;
            entry.event(&event, &mut |space, regs, memory| {
                symbols.unwind(space, regs, memory)
            });
            return;
        }
        match decode::record(bytes) {
            Ok(Record::Sample(head, stack)) => self.sample(&head, &stack),
            // The word had changed, so the thread never slept.
            Ok(Record::End(end)) if end.result == -i64::from(libc::EAGAIN) => {
                self.stacks.take_back(end.tid, end.since_ns);
            }
            Ok(Record::End(end)) => {
                self.stacks.end(end.tid, end.since_ns, end.duration_ns);
            }
            Ok(Record::Hold(head, stack)) => {
                let key = key_of(&head);
                self.meet(key);
                let frames = self.frames(&head, &stack);
                let charged_ns = head.held_ns.max(self.sample_interval_ns);
                self.gathered
                    .release(key, frames, charged_ns, head.off_cpu == 1);
            }
            // Only the agent asks to be called.
            Ok(Record::Crossing(_)) => {}
            Err(_) => self.undecodable += 1,
        }
    }

    fn sample(&mut self, head: &WaitSample, stack: &Stack<'_>) {
        let key = key_of(head);
        if head.op == SEMAPHORE {
            let space = space_of(&key);
            self.meet_process(space);
            let frames = self.live.stack(space, head, stack);
            self.stacks.begin(key, head.tid, head.since_ns, frames);
            return;
        }
        self.meet(key);
        // Seen parked at the first look, and sampled by the kernel side when it woke.
        if self.stacks.is_begun(head.tid, head.since_ns) {
            return;
        }
        let frames = self.frames(head, stack);
        self.stacks.begin(key, head.tid, head.since_ns, frames);
    }

    fn frames(&mut self, head: &WaitSample, stack: &Stack<'_>) -> Vec<RawFrame> {
        let space = space_of(&key_of(head));
        match stack {
            Stack::Memory([]) => Vec::new(),
            Stack::Memory(bytes) => {
                let memory = Copied {
                    base: head.regs.sp,
                    bytes,
                };
                self.symbols.unwind(space, head.regs, &memory)
            }
            Stack::Addresses(addresses) => self.symbols.from_addresses(space, addresses),
        }
    }

    /// Unwinds some of the threads that were parked when recording began, so that their waits have a place when they
    /// end. Their waits count as begun.
    pub fn first_look(&mut self, waiters: &mut [Waiter]) {
        for waiter in waiters.iter() {
            self.meet(waiter.key);
        }
        let budget = Budget::per_lock(FIRST_LOOK_PER_LOCK);
        waiter::unwind(waiters, &mut self.symbols, &budget);
        for waiter in waiters {
            if let (false, Some(since_ns)) = (waiter.stack.is_empty(), waiter.since_ns) {
                let stack = waiter.stack.to_vec();
                self.stacks.begin(waiter.key, waiter.tid, since_ns, stack);
            }
        }
    }

    /// Reads the surroundings of all words that are waited for now, at once: holders change while stacks are unwound.
    pub fn look_again(&mut self, waiters: &[Waiter]) {
        // What they share is asked after the words were read: a process that is not there then did not write them.
        self.sharers = Sharers::default();
        let mut looked = HashSet::new();
        for waiter in waiters {
            if looked.insert(waiter.key) && self.keepsakes.len() < MAX_KEEPSAKES {
                self.keepsakes.insert(waiter.key, Keepsake::of(&waiter.key));
            }
        }
        for key in looked {
            self.meet(key);
        }
    }

    /// Takes in the processes whose goroutines have waited.
    pub fn meet_goroutines(&mut self, plane: &Plane) {
        let locks = plane.locks.iter();
        for (_, lock) in locks.filter(|(_, lock)| lock.op == SEMAPHORE) {
            self.meet_process(space_of(&lock.key));
        }
    }

    /// Takes in a program written in Go.
    pub fn meet_program(&mut self, space: Space, program: &Arc<Program>) {
        self.meet_process(space);
        self.live.meet(space, program);
    }

    fn meet_process(&mut self, space: Space) {
        self.processes.meet(space);
        self.symbols.load(space);
    }

    /// Reads what can be lost when the process dies.
    pub fn meet(&mut self, key: LockKey) {
        self.meet_process(space_of(&key));
        if self.keepsakes.len() < MAX_KEEPSAKES {
            self.keepsakes
                .entry(key)
                .or_insert_with(|| Keepsake::of(&key));
        }
    }

    /// What was lost in user space, by name; all names are present.
    #[must_use]
    pub fn losses(&self) -> BTreeMap<String, u64> {
        let mut losses: BTreeMap<String, u64> = self
            .symbols
            .losses()
            .named()
            .map(|(name, count)| (name.to_owned(), count))
            .collect();
        losses.insert("records_undecodable".into(), self.undecodable);
        losses.insert("chains_cut".into(), self.chains_cut);
        let overflow = self.stacks.overflow() + self.gathered.overflow();
        losses.insert("stacks_overflow".into(), overflow);
        losses
    }
}

/// The word that a sample is about.
const fn key_of(head: &WaitSample) -> LockKey {
    LockKey {
        address: head.address,
        tgid: head.tgid,
        generation: head.generation,
    }
}
