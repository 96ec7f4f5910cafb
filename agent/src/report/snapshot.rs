//! What is blocked right now: a census, nothing attached, nobody stopped.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
    time::{Duration, SystemTime},
};

use holdup_abi::{census::Task, lock::LockKey};

use super::{
    engine::Engine,
    lock::{self, Assembled, Sources, Word},
    syscall,
    waiter::{self, Waiter},
};
use crate::{
    ingest::{clock::monotonic_ns, decode},
    model::{Snapshot, plan::PlanEntry, process::Process, snapshot::SCHEMA, snapshot::Thread},
    proc::time,
    symbol::Space,
};

/// Threads outside a futex wait whose stacks are unwound.
const MAX_OTHER_STACKS: usize = 4096;

/// Builds the report from a census. `asleep_since_ns` tells since when a sleeping thread has not run.
/// Without `with_stacks` nothing is unwound.
#[must_use]
pub fn build(
    tasks: &[Task],
    asleep_since_ns: impl Fn(&Task) -> Option<u64>,
    plan: Vec<PlanEntry>,
    taken_at: SystemTime,
    with_stacks: bool,
) -> Snapshot {
    let began_ns = monotonic_ns();
    let mut engine = Engine::default();
    let mut waiters: Vec<Waiter> = tasks
        .iter()
        .filter_map(|task| waiter(task, asleep_since_ns(task)))
        .collect();
    for waiter in &waiters {
        engine.meet(waiter.key);
    }
    let without_stack = if with_stacks {
        waiter::unwind(&mut waiters, &mut engine.symbols)
    } else {
        0
    };
    let stacks: HashMap<u32, super::stacks::RawStack> = waiters
        .iter()
        .map(|waiter| (waiter.tid, Rc::clone(&waiter.stack)))
        .collect();
    let assembled = lock::assemble(
        words(waiters),
        &mut Sources {
            symbols: &mut engine.symbols,
            processes: &engine.processes,
            keepsakes: &engine.keepsakes,
            now_ns: monotonic_ns(),
        },
    );
    let mut others = 0;
    let threads = tasks
        .iter()
        .map(|task| {
            let since_ns = asleep_since_ns(task)
                .filter(|_| task.state != 0)
                .map(|since| began_ns.saturating_sub(since));
            let space = Space {
                pid: task.tgid,
                generation: task.generation,
            };
            let stack = stacks.get(&task.tid).cloned().unwrap_or_else(|| {
                if task.state == 0 || !with_stacks {
                    return Rc::default();
                }
                others += 1;
                if others > MAX_OTHER_STACKS {
                    Rc::default()
                } else {
                    Rc::from(waiter::unwind_one(space, task.regs, &mut engine.symbols))
                }
            });
            thread(
                task,
                since_ns,
                &assembled,
                engine.symbols.symbolize(space, &stack),
            )
        })
        .collect();
    let mut loss = engine.losses();
    let others_left = others.saturating_sub(MAX_OTHER_STACKS) as u64;
    loss.insert("waiters_not_unwound".into(), without_stack + others_left);
    let mut locks = assembled.locks;
    locks.sort_by_key(|lock| std::cmp::Reverse((lock.waiters, lock.oldest_wait_ns)));
    let ended_ns = monotonic_ns();
    Snapshot {
        schema: SCHEMA.into(),
        taken_at: time::rfc3339(taken_at),
        duration_ns: Duration::from_nanos(ended_ns.saturating_sub(began_ns)).as_nanos() as u64,
        plan,
        loss,
        processes: processes(tasks, &assembled.parked, &mut engine),
        locks,
        threads,
    }
}

fn waiter(task: &Task, since_ns: Option<u64>) -> Option<Waiter> {
    let (address, op, value) = waiter::futex_wait(task)?;
    Some(Waiter {
        tid: task.tid,
        comm: decode::comm(&task.comm),
        key: LockKey {
            address,
            tgid: task.tgid,
            generation: task.generation,
        },
        op,
        value,
        regs: task.regs,
        since_ns,
        at_least: true,
        stack: Rc::default(),
    })
}

fn words(waiters: Vec<Waiter>) -> Vec<Word> {
    let mut by_key: BTreeMap<LockKey, Vec<Waiter>> = BTreeMap::new();
    for waiter in waiters {
        by_key.entry(waiter.key).or_default().push(waiter);
    }
    by_key
        .into_iter()
        .map(|(key, waiters)| Word {
            key,
            stats: None,
            waiters,
            paths: Vec::new(),
        })
        .collect()
}

fn thread(
    task: &Task,
    since_ns: Option<u64>,
    assembled: &Assembled,
    frames: Vec<crate::model::Frame>,
) -> Thread {
    let waits_for = assembled.threads.get(&task.tid);
    Thread {
        tid: task.tid,
        pid: task.tgid,
        comm: decode::comm(&task.comm),
        state: syscall::state(task.state).into(),
        syscall: (task.state != 0)
            .then(|| syscall::name(task.syscall))
            .flatten(),
        lock: waits_for.map(|(address, _)| *address),
        kind: waits_for.map(|(_, kind)| *kind),
        since_ns,
        frames,
    }
}

fn processes(
    tasks: &[Task],
    parked: &HashMap<Space, BTreeMap<String, u64>>,
    engine: &mut Engine,
) -> Vec<Process> {
    let mut spaces: Vec<Space> = tasks
        .iter()
        .map(|task| Space {
            pid: task.tgid,
            generation: task.generation,
        })
        .collect();
    spaces.sort_unstable_by_key(|space| (space.pid, space.generation));
    spaces.dedup();
    spaces
        .into_iter()
        .map(|space| {
            engine.processes.meet(space);
            let mut process = engine.processes.latest(space.pid);
            process.parked = parked.get(&space).cloned().unwrap_or_default();
            process
        })
        .collect()
}
