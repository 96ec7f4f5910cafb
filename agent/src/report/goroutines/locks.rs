//! Locks that goroutines wait for, as entries among those of threads.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use super::{
    frames,
    parked::{Parked, Paths, Semaphore},
    wait::{Awaited, Waits},
};
use crate::{
    model::{Frame, Lock, Site},
    proc::memory::Process,
    report::{
        engine::Engine,
        lock::{self, Sum},
        name,
        stacks::RawStack,
    },
    runtime::{
        self,
        go::{Census, ages::Ages, lockword::Held},
        identity,
    },
    symbol::{Space, Symbols},
};

/// Most call paths of a lock.
const MAX_SITES: usize = 64;

/// A lock with those who wait for it.
#[derive(Debug)]
pub struct Waited {
    /// What it is.
    pub awaited: Awaited,
    /// Indices of the waiters in the census.
    pub waiters: Vec<usize>,
    /// Its entry.
    pub lock: Lock,
    /// What it says of itself.
    pub held: Option<Held>,
    /// All time waited that is known of, finished or not, in nanoseconds.
    pub rank: u128,
}

/// What is known of a lock.
#[derive(Default)]
struct Known<'a> {
    waiters: Vec<usize>,
    semaphores: Vec<&'a Semaphore>,
}

/// What locks are put together from.
#[derive(Clone, Copy)]
pub struct Looked<'a> {
    /// The goroutines; `None` when the process is gone.
    pub census: Option<&'a Census>,
    /// Since when they wait.
    pub ages: &'a Ages,
    /// What was measured.
    pub measured: &'a Parked,
    /// The process.
    pub space: Space,
}

/// Puts together all locks, `WaitGroup`s and condition variables that goroutines of a process wait for, or waited for
/// when that was measured; those with most waiters first.
#[must_use]
pub fn of(looked: Looked<'_>, waits: &mut Waits, engine: &mut Engine) -> Vec<Waited> {
    let mut known: BTreeMap<Awaited, Known<'_>> = BTreeMap::new();
    let semaphores = looked.measured.semaphores.get(&looked.space);
    for semaphore in semaphores.into_iter().flatten() {
        let stats = &semaphore.stats;
        let tell = || operation(semaphore, looked.space, engine);
        if let Some(awaited) = waits.learn(stats.key.address, tell) {
            known.entry(awaited).or_default().semaphores.push(semaphore);
        }
    }
    if let Some(census) = looked.census {
        for (index, goroutine) in census.goroutines.iter().enumerate() {
            if let Some(awaited) = waits.awaited(census, goroutine) {
                known.entry(awaited).or_default().waiters.push(index);
            }
        }
    }
    let mut locks: Vec<Waited> = known
        .into_iter()
        .map(|(awaited, known)| lock(looked, awaited, known, engine))
        // Nobody has waited there: a wait was taken back.
        .filter(|waited| waited.lock.waits + waited.lock.waiters > 0)
        .collect();
    locks.sort_by_key(|waited| Reverse(waited.waiters.len()));
    locks
}

/// What those want who wait for a semaphore, by where most time was spent.
fn operation(
    semaphore: &Semaphore,
    space: Space,
    engine: &mut Engine,
) -> runtime::go::operation::Operation {
    let heaviest = semaphore
        .paths
        .iter()
        .max_by_key(|(stack, tally)| (!stack.is_empty(), tally.wait_ns, tally.samples));
    let stack = heaviest.map_or(&[][..], |(stack, _)| stack);
    match engine.live.known(space) {
        Some(program) => program.operation(stack),
        None => runtime::go::operation::of(&[], ""),
    }
}

fn lock(looked: Looked<'_>, awaited: Awaited, known: Known<'_>, engine: &mut Engine) -> Waited {
    let sum = sum(looked, awaited, &known);
    let sites = match looked.census {
        Some(census) if !looked.measured.is_watched() => sites(census, &known.waiters),
        census => {
            let paths = paths(census, &known, looked.space, engine);
            let mut name = |stack: &RawStack| {
                let program = engine.live.known(looked.space);
                program.map_or_else(Vec::new, |program| program.frames(stack))
            };
            let shared = lock::shared(paths, &sum, &mut name);
            shared.into_iter().map(|(_, site)| site).collect()
        }
    };
    let lead = sites
        .iter()
        .map(|site| runtime::application_frames(&site.frames))
        .find(|frames| !frames.is_empty());
    let (id, symbol) = identify(
        awaited,
        lead.unwrap_or_default(),
        looked.space,
        &mut engine.symbols,
    );
    let rank = u128::from(sum.wait_ns.total) + sum.going_on_ns;
    let memory = Process {
        pid: looked.space.pid,
    };
    let held = looked
        .census
        .and_then(|_| Held::read(&memory, awaited.of, awaited.address));
    let mut evidence = format!("{} that goroutines wait for", awaited.of);
    if let Some(words) = held.map(Held::describe).filter(|words| !words.is_empty()) {
        evidence.push_str("; ");
        evidence.push_str(&words);
    }
    let lock = Lock {
        id,
        pid: looked.space.pid,
        address: awaited.address,
        kind: awaited.kind,
        runtime: Some("go".to_owned()),
        evidence,
        symbol,
        site: lead.and_then(|frames| frames.first()).map(name::place),
        waiters: sum.waiters,
        waiters_peak: sum.waiters_peak.max(sum.waiters),
        waits: sum.waits,
        outcomes: sum.outcomes,
        value_changed: sum.value_changed,
        wakes: sum.wakes,
        requeues: sum.requeues,
        wait_ns: sum.wait_ns,
        oldest_wait_ns: sum.oldest_wait_ns,
        oldest_is_at_least: sum.oldest_is_at_least,
        last_handoff_ns: sum.last_handoff_ns,
        histogram: lock::buckets(&sum.histogram),
        sites,
        holds: None,
        runqueue: None,
        holder: None,
        explanation: None,
    };
    Waited {
        awaited,
        waiters: known.waiters,
        lock,
        held,
        rank,
    }
}

/// Adds up what was measured, and counts those who wait.
fn sum(looked: Looked<'_>, awaited: Awaited, known: &Known<'_>) -> Sum {
    let measured = looked.measured;
    let mut sum = Sum::default();
    for semaphore in &known.semaphores {
        sum.add(&semaphore.stats, awaited.kind, measured.now_ns);
    }
    let Some(census) = looked.census else {
        let waiters = known
            .semaphores
            .iter()
            .map(|semaphore| semaphore.stats.waiters);
        sum.waiters = waiters.sum();
        return sum;
    };
    sum.waiters = known.waiters.len() as u64;
    for goroutine in known
        .waiters
        .iter()
        .filter_map(|&index| census.goroutines.get(index))
    {
        let age_ns = looked.ages.age_ns(census, goroutine);
        let is_exact = measured.since_ns(looked.space, goroutine).is_some();
        sum.oldest_is_at_least |= age_ns.is_some() && !is_exact;
        sum.oldest_wait_ns = sum.oldest_wait_ns.max(age_ns);
        let watched_ns = measured
            .watched_since_ns
            .map(|since_ns| census.at_ns.saturating_sub(since_ns));
        sum.going_on_ns += u128::from(age_ns.min(watched_ns).unwrap_or(0));
    }
    sum
}

/// A lock in static storage goes by its address, another one by where it is waited for.
pub fn identify(
    awaited: Awaited,
    lead: &[Frame],
    space: Space,
    symbols: &mut Symbols,
) -> (String, Option<String>) {
    if let Some(location) = symbols.locate(space, awaited.address) {
        let module = location.build_id.as_deref().unwrap_or(&location.module);
        return (
            identity::static_lock(module, location.offset, awaited.kind),
            location.symbol,
        );
    }
    let place: Vec<(Option<&str>, u64)> = lead
        .iter()
        .take(identity::SITE_FRAMES)
        .map(|frame| (frame.module.as_deref(), frame.offset))
        .collect();
    (identity::wait_site(awaited.kind, &place), None)
}

/// Call paths of sampled waits, and of those who wait now.
fn paths(census: Option<&Census>, known: &Known<'_>, space: Space, engine: &mut Engine) -> Paths {
    let mut paths = Paths::new();
    for (stack, tally) in known
        .semaphores
        .iter()
        .flat_map(|semaphore| &semaphore.paths)
    {
        let (total, _) = paths.entry(Rc::clone(stack)).or_default();
        total.samples += tally.samples;
        total.ended += tally.ended;
        total.wait_ns = total.wait_ns.saturating_add(tally.wait_ns);
    }
    let Some(census) = census else {
        return paths;
    };
    for (stack, waiters) in counts(census, &known.waiters) {
        let addresses: Vec<u64> = stack
            .and_then(|stack| census.stacks.get(stack))
            .map(|stack| {
                let mut addresses: Vec<u64> = stack.frames.iter().map(|(at, _)| *at).collect();
                addresses.dedup();
                addresses
            })
            .unwrap_or_default();
        let program = engine.live.meet(space, &census.program);
        let stack: RawStack = program.from_lock(&addresses).into();
        paths.entry(stack).or_default().1 += waiters;
    }
    paths
}

/// How many wait at each stack of the census.
fn counts(census: &Census, waiters: &[usize]) -> HashMap<Option<usize>, u64> {
    let mut counts: HashMap<Option<usize>, u64> = HashMap::new();
    for &index in waiters {
        let stack = census.goroutines.get(index).and_then(|g| g.stack);
        *counts.entry(stack).or_default() += 1;
    }
    counts
}

/// Call paths with their waiters, most waiting first.
fn sites(census: &Census, waiters: &[usize]) -> Vec<Site> {
    let mut counts: Vec<_> = counts(census, waiters).into_iter().collect();
    // What has no stack names nothing, so it comes last.
    counts.sort_by_key(|&(stack, count)| (stack.is_none(), Reverse(count), stack));
    counts.truncate(MAX_SITES);
    counts
        .into_iter()
        .map(|(stack, waiters)| Site {
            waits: 0,
            wait_ns: 0,
            waiters,
            samples: 0,
            frames: stack
                .and_then(|stack| census.stacks.get(stack))
                .map(|stack| frames::of(&census.program, stack))
                .unwrap_or_default(),
        })
        .collect()
}
