//! Locks and waits of threads that `/proc` alone has shown: as for watched processes, but the scheduler alone knows ages.

use std::{collections::HashMap, rc::Rc};

use holdup_abi::lock::LockKey;

use super::census::Still;
use crate::{
    ingest::{clock::monotonic_ns, decode},
    report::{
        budget::Budget,
        engine::Engine,
        lock::{self, Assembled, Sources},
        snapshot,
        waiter::{self, Waiter},
    },
};

/// Waiters of one lock that are unwound: one tells what it is, the next where else it is waited for.
const UNWOUND_PER_LOCK: usize = 2;

/// What `threads` wait for, and who holds that. `asleep` tells since when they have slept. Those that ran meanwhile are marked as not steady.
pub fn assemble<'a>(
    threads: impl IntoIterator<Item = &'a Still>,
    asleep: &HashMap<u32, u64>,
    engine: &mut Engine,
) -> Assembled {
    let threads: HashMap<u32, &Still> = threads
        .into_iter()
        .map(|still| (still.task.tid, still))
        .collect();
    let mut waiters: Vec<Waiter> = threads
        .values()
        .filter_map(|still| waiter(still, asleep, engine))
        .collect();
    // Which of them is looked at closely must not depend on chance.
    waiters.sort_by_key(|waiter| waiter.tid);
    if waiters.is_empty() {
        return Assembled::default();
    }
    engine.look_again(&waiters);
    let budget = Budget::per_lock(UNWOUND_PER_LOCK);
    waiter::unwind(&mut waiters, &mut engine.symbols, &budget);
    for waiter in &mut waiters {
        let before = threads.get(&waiter.tid);
        let now = Still::of(waiter.key.tgid, waiter.tid);
        waiter.steady = match (before, now) {
            (Some(before), Some(now)) => before.slept_until(&now),
            _ => false,
        };
        if !waiter.steady {
            // Torn.
            waiter.stack = Rc::default();
        }
    }
    lock::assemble(
        snapshot::words(waiters),
        &mut Sources {
            symbols: &mut engine.symbols,
            processes: &engine.processes,
            keepsakes: &engine.keepsakes,
            sharers: &engine.sharers,
            now_ns: monotonic_ns(),
            watched_ns: u64::MAX,
        },
    )
}

fn waiter(still: &Still, asleep: &HashMap<u32, u64>, engine: &Engine) -> Option<Waiter> {
    let task = &still.task;
    let (address, op, value) = waiter::futex_wait(task)?;
    Some(Waiter {
        tid: task.tid,
        comm: decode::comm(&task.comm),
        key: LockKey {
            address,
            tgid: task.tgid,
            generation: engine.processes.generation(task.tgid),
        },
        op,
        value,
        regs: task.regs,
        since_ns: asleep.get(&task.tid).copied(),
        at_least: true,
        steady: false,
        stack: Rc::default(),
    })
}
