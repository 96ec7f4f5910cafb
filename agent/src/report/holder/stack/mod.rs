//! Inference from stacks: a thread that does not wait for the lock, but whose stack shows that it is past the call that
//! the waiters are in, or holds the lock's address.
//!
//! `place` names the places in the code, `calls` tells what is called there, `rank` weighs the evidence. A thread that sleeps
//! has the stack that is read, and what has run meanwhile counts for nothing. Of one that runs, the kernel keeps the
//! registers of its last entry, which a clock tick makes a few milliseconds ago at most: its outer frames change less
//! often, so it is read at two moments, and what both show counts.

mod calls;
mod place;
mod rank;
pub mod taken;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use holdup_abi::census::Task;

use self::{
    place::{Places, Sites},
    rank::{Rank, Shown},
};
use super::{Around, Found, Question};
use crate::{
    model::{self, Kind, explanation::Confidence, explanation::LockRef},
    proc::memory::Process,
    report::{lock::Assembled, snapshot, waiter},
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
    for (&space, questions) in &by_process {
        let threads = candidates(space, around.seen.iter().map(|seen| &seen.task), assembled);
        if threads.is_empty() || threads.len() > left {
            continue;
        }
        left -= threads.len();
        looks.extend(look(space, questions, &threads, symbols, deadline));
    }
    if looks.is_empty() {
        return Vec::new();
    }
    let now = (around.again)();
    let steady = snapshot::steady(around.seen, &now);
    let runners: HashSet<u32> = looks.iter().filter_map(Look::best_runs).collect();
    let mut again: HashMap<(usize, u32), Rank> = HashMap::new();
    for (&space, questions) in &by_process {
        let tasks = now.iter().filter(|task| runners.contains(&task.tid));
        let threads = candidates(space, tasks, assembled);
        let second = look(space, questions, &threads, symbols, deadline);
        again.extend(second.into_iter().flat_map(|look| {
            let ranks = look.shown.into_iter();
            ranks.map(move |(shown, rank)| ((look.index, shown.tid), rank))
        }));
    }
    looks
        .into_iter()
        .filter_map(|look| Some((look.index, look.conclude(&steady, &again)?)))
        .collect()
}

/// Whether somebody has what is waited for, so that a stack could show it.
const fn has_holder(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Mutex | Kind::RwlockRead | Kind::RwlockWrite | Kind::Once | Kind::Semaphore
    )
}

/// Threads of a process that could hold something and can be read.
fn candidates<'a>(
    space: Space,
    tasks: impl Iterator<Item = &'a Task>,
    assembled: &Assembled,
) -> Vec<&'a Task> {
    tasks
        .filter(|task| waiter::space_of_task(task) == space && task.regs.sp != 0)
        .filter(|task| {
            let waits_for = assembled.threads.get(&task.tid).map(|wait| wait.kind);
            rank::may_hold(waits_for)
        })
        .collect()
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
    questions: &[(usize, Question<'_>)],
    threads: &[&Task],
    symbols: &mut Symbols,
    deadline: Instant,
) -> Vec<Look> {
    let mut places = Places::new(space);
    let mut wanted: Vec<(Look, Question<'_>, Sites)> = Vec::new();
    for &(index, question) in questions {
        let look = Look {
            index,
            kind: question.lock.kind,
            running: threads.iter().any(|task| task.state == 0),
            shown: Vec::new(),
        };
        let sites = Sites::of(&question.parts.waiters, &mut places, symbols, deadline);
        wanted.push((look, question, sites));
    }
    let addresses: HashSet<u64> = wanted
        .iter()
        .map(|(_, question, _)| question.lock.address)
        .collect();
    for task in threads {
        // Half a search would name whoever happened to be looked at.
        if Instant::now() >= deadline {
            return Vec::new();
        }
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
                runs: task.state == 0,
            };
            if let Some(rank) = rank::rank(&shown, look.kind) {
                look.shown.push((shown, rank));
            }
        }
    }
    wanted.into_iter().map(|(look, ..)| look).collect()
}

impl Look {
    /// The thread with the best evidence, if it runs.
    fn best_runs(&self) -> Option<u32> {
        let (shown, _) = rank::best(&self.shown)?;
        shown.runs.then_some(shown.tid)
    }

    /// `steady` are the threads that have not run since, `again` is what others show at a second moment.
    fn conclude(self, steady: &HashSet<u32>, again: &HashMap<(usize, u32), Rank>) -> Option<Found> {
        // One that has moved may have been the best: then the second best is not it.
        let (shown, rank) = rank::best(&self.shown)?;
        let stands = if shown.runs {
            let again = again.get(&(self.index, shown.tid));
            again.is_some_and(|&again| again.min(rank) > Rank::CallsAndAddress)
        } else {
            steady.contains(&shown.tid) && (rank > Rank::CallsAndAddress || !self.running)
        };
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
