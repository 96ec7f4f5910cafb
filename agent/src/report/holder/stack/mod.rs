//! Inference from stacks: a thread that does not wait for the lock, but whose stack shows that it is past the call that
//! the waiters are in, or holds the lock's address.
//!
//! `place` names the places in the code, `calls` tells what is called there, `rank` weighs the evidence. Only threads that sleep can be read, and what
//! has run while it was read counts for nothing.

mod calls;
mod place;
mod rank;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use self::{
    place::{Places, Sites},
    rank::{Rank, Shown},
};
use super::{Around, Found, Question};
use crate::{
    model::{self, Kind, explanation::Confidence, explanation::LockRef},
    proc::memory::Process,
    report::{
        lock::Assembled,
        snapshot::{self, Seen},
        waiter,
    },
    symbol::{Space, Symbols},
};

/// Threads that are looked at, over all processes. Of a process with more, nothing is concluded.
const MAX_THREADS: usize = 512;
/// Stack read of each.
const STACK_BYTES: usize = 64 << 10;
/// Time for all of it: reading a stack takes some ten microseconds, naming the functions of a new program longer.
const TIME: Duration = Duration::from_millis(500);

/// Holders of the locks `unknown` (indices into `locks`), as far as stacks tell.
#[must_use]
pub fn holders(
    locks: &[model::Lock],
    unknown: &[usize],
    assembled: &Assembled,
    around: &mut Around<'_>,
) -> Vec<(usize, Found)> {
    let Some(symbols) = around.symbols.as_deref_mut() else {
        return Vec::new();
    };
    let deadline = Instant::now() + TIME;
    let mut by_process: BTreeMap<Space, Vec<(usize, Question<'_>)>> = BTreeMap::new();
    for &index in unknown {
        let Some(lock) = locks.get(index).filter(|lock| has_holder(lock.kind)) else {
            continue;
        };
        let name = LockRef {
            pid: lock.pid,
            address: lock.address,
        };
        if let Some(parts) = assembled.parts.get(&(name, lock.kind)) {
            let question = Question {
                lock,
                parts,
                assembled,
            };
            by_process
                .entry(parts.space)
                .or_default()
                .push((index, question));
        }
    }
    let mut left = MAX_THREADS;
    let mut looks = Vec::new();
    for (space, questions) in by_process {
        let Some(sleepers) = sleepers(space, around.seen, assembled) else {
            continue;
        };
        if sleepers.len() > left {
            continue;
        }
        left -= sleepers.len();
        looks.extend(look(space, questions, &sleepers, symbols, deadline));
    }
    if looks.is_empty() {
        return Vec::new();
    }
    let steady = snapshot::steady(around.seen, &(around.again)());
    looks
        .into_iter()
        .filter_map(|look| Some((look.index, look.conclude(&steady)?)))
        .collect()
}

/// Whether somebody has what is waited for, so that a stack could show it.
const fn has_holder(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Mutex | Kind::RwlockRead | Kind::RwlockWrite | Kind::Once | Kind::Semaphore
    )
}

/// Threads of a process that could hold something and can be read; `None` when there are none.
struct Sleepers<'a> {
    threads: Vec<&'a Seen>,
    /// Threads that run: what they hold, nobody can see.
    running: bool,
}

impl Sleepers<'_> {
    const fn len(&self) -> usize {
        self.threads.len()
    }
}

fn sleepers<'a>(space: Space, seen: &'a [Seen], assembled: &Assembled) -> Option<Sleepers<'a>> {
    let own = || {
        seen.iter()
            .filter(|seen| waiter::space_of_task(&seen.task) == space)
    };
    let running = own().any(|seen| seen.task.state == 0);
    let threads: Vec<&Seen> = own()
        .filter(|seen| seen.task.state != 0 && seen.task.regs.sp != 0)
        .filter(|seen| {
            let waits_for = assembled.threads.get(&seen.task.tid).map(|wait| wait.kind);
            rank::may_hold(waits_for)
        })
        .collect();
    (!threads.is_empty()).then_some(Sleepers { threads, running })
}

/// What was seen with regard to one lock.
struct Look {
    index: usize,
    kind: Kind,
    running: bool,
    shown: Vec<(Shown, Rank)>,
}

fn look(
    space: Space,
    questions: Vec<(usize, Question<'_>)>,
    sleepers: &Sleepers<'_>,
    symbols: &mut Symbols,
    deadline: Instant,
) -> Vec<Look> {
    let mut places = Places::new(space);
    let mut wanted: Vec<(Look, Question<'_>, Sites)> = Vec::new();
    for (index, question) in questions {
        let look = Look {
            index,
            kind: question.lock.kind,
            running: sleepers.running,
            shown: Vec::new(),
        };
        let sites = Sites::of(&question.parts.waiters, &mut places, symbols, deadline);
        wanted.push((look, question, sites));
    }
    let addresses: HashSet<u64> = wanted
        .iter()
        .map(|(_, question, _)| question.lock.address)
        .collect();
    for seen in &sleepers.threads {
        // Half a search would name whoever happened to be looked at.
        if Instant::now() >= deadline {
            return Vec::new();
        }
        let task = &seen.task;
        let (found, range) = scan(space.pid, task.regs.sp, &addresses);
        let stack = waiter::unwind_one(space, task.regs, symbols);
        let frames = places.of_stack(&stack, symbols);
        for (look, question, sites) in &mut wanted {
            if question.is_waiter(task.tid) {
                continue;
            }
            let address = question.lock.address;
            let has_address = found.contains(&address) || task.regs.fp == address;
            let calls = match has_address {
                true => calls::caller(space, &stack, &sites.targets, symbols),
                false => None,
            };
            let shown = Shown {
                tid: task.tid,
                past: sites.inner_past(&frames),
                past_caller: sites.caller_past(&frames),
                has_address,
                calls,
                is_home: range.contains(&address),
                waits: question.waits_for(task.tid).is_some(),
            };
            if let Some(rank) = rank::rank(&shown, look.kind) {
                look.shown.push((shown, rank));
            }
        }
    }
    wanted.into_iter().map(|(look, ..)| look).collect()
}

impl Look {
    fn conclude(self, steady: &HashSet<u32>) -> Option<Found> {
        // One that has moved may have been the best: then the second best is not it.
        let (shown, rank) = rank::best(&self.shown)?;
        let stands = steady.contains(&shown.tid) && (rank > Rank::CallsAndAddress || !self.running);
        stands.then(|| Found {
            tid: shown.tid,
            confidence: Confidence::Inferred,
            known_by: shown.words(rank),
            since_ns: None,
        })
    }
}

/// Which of these addresses a stack holds, and where it lies as far as it was read.
fn scan(pid: u32, sp: u64, addresses: &HashSet<u64>) -> (HashSet<u64>, std::ops::Range<u64>) {
    let mut bytes = vec![0; STACK_BYTES];
    let base = sp & !7;
    let length = Process { pid }.read_up_to(base, &mut bytes);
    bytes.truncate(length);
    let words = bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|word| u64::from_le_bytes(*word));
    let found = words.filter(|word| addresses.contains(word)).collect();
    (found, base..base.saturating_add(length as u64))
}

/// By address of a frame: its place.
type Known = HashMap<u64, Option<place::Place>>;
