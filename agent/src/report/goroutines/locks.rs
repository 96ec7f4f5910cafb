//! Locks that goroutines wait for, as entries among those of threads.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use super::{
    frames,
    wait::{Awaited, Waits},
};
use crate::{
    model::{Frame, Lock, Outcomes, Site, lock::WaitNs},
    proc::memory::Process,
    report::{engine::Engine, name},
    runtime::{
        self,
        go::{Census, ages::Ages, lockword::Held},
        identity,
    },
    symbol::Space,
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
}

/// Puts together all locks, `WaitGroup`s and condition variables that goroutines of a process wait for, those with most
/// waiters first.
#[must_use]
pub fn of(
    census: &Census,
    waits: &Waits,
    ages: &Ages,
    space: Space,
    engine: &mut Engine,
) -> Vec<Waited> {
    let mut waiters: BTreeMap<Awaited, Vec<usize>> = BTreeMap::new();
    for (index, goroutine) in census.goroutines.iter().enumerate() {
        if let Some(awaited) = waits.awaited(census, goroutine) {
            waiters.entry(awaited).or_default().push(index);
        }
    }
    let memory = Process { pid: space.pid };
    let mut locks: Vec<Waited> = waiters
        .into_iter()
        .map(|(awaited, waiters)| {
            let held = Held::read(&memory, awaited.of, awaited.address);
            let mut lock = lock(census, ages, awaited, &waiters, space, engine);
            if let Some(words) = held.map(Held::describe).filter(|words| !words.is_empty()) {
                lock.evidence = format!("{}; {words}", lock.evidence);
            }
            Waited {
                awaited,
                waiters,
                lock,
                held,
            }
        })
        .collect();
    locks.sort_by_key(|waited| Reverse(waited.waiters.len()));
    locks
}

fn lock(
    census: &Census,
    ages: &Ages,
    awaited: Awaited,
    waiters: &[usize],
    space: Space,
    engine: &mut Engine,
) -> Lock {
    let sites = sites(census, waiters);
    let lead = sites
        .iter()
        .map(|site| runtime::application_frames(&site.frames))
        .find(|frames| !frames.is_empty());
    let (id, symbol) = identify(awaited, lead.unwrap_or_default(), space, engine);
    let oldest_wait_ns = waiters
        .iter()
        .filter_map(|&index| ages.age_ns(census, census.goroutines.get(index)?))
        .max();
    let count = waiters.len() as u64;
    Lock {
        id,
        pid: space.pid,
        address: awaited.address,
        kind: awaited.kind,
        runtime: Some("go".to_owned()),
        evidence: format!("{} that goroutines wait for", awaited.of),
        symbol,
        site: lead.and_then(|frames| frames.first()).map(name::place),
        waiters: count,
        waiters_peak: count,
        waits: 0,
        outcomes: Outcomes::default(),
        value_changed: 0,
        wakes: 0,
        requeues: 0,
        wait_ns: WaitNs::default(),
        oldest_wait_ns,
        oldest_is_at_least: oldest_wait_ns.is_some(),
        last_handoff_ns: None,
        histogram: Vec::new(),
        sites,
        holds: None,
        runqueue: None,
        holder: None,
        explanation: None,
    }
}

/// A lock in static storage goes by its address, another one by where it is waited for.
fn identify(
    awaited: Awaited,
    lead: &[Frame],
    space: Space,
    engine: &mut Engine,
) -> (String, Option<String>) {
    if let Some(location) = engine.symbols.locate(space, awaited.address) {
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

/// Call paths with their waiters, most waiting first.
fn sites(census: &Census, waiters: &[usize]) -> Vec<Site> {
    let mut counts: HashMap<Option<usize>, u64> = HashMap::new();
    for &index in waiters {
        let stack = census.goroutines.get(index).and_then(|g| g.stack);
        *counts.entry(stack).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
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
