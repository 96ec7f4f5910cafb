//! The end of a recording: tables and stacks become a [`Capture`].

use std::{
    collections::{BTreeMap, HashMap},
    io,
    rc::Rc,
    time::{Duration, SystemTime},
};

use holdup_abi::{
    census::Task,
    lock::LockKey,
    record::Regs,
    thread::{PREEXISTING, Thread},
};

use super::{
    engine::Engine,
    lock::{self, Assembled, Sources, Word, space_of},
    waiter::{self, Waiter},
};
use crate::{
    ingest::{
        census,
        clock::monotonic_ns,
        decode,
        plane::{Plane, PlaneError},
    },
    model::{Capture, capture::SCHEMA, process::Process},
    proc::time,
    symbol::Space,
};

/// Threads in a wait now, on the kernel side's record, with registers where they can be had.
///
/// # Errors
/// The table cannot be read.
pub fn waiters(plane: &mut Plane) -> Result<Vec<Waiter>, PlaneError> {
    let parked = plane.parked()?;
    let tasks = tasks(plane, &parked);
    Ok(parked
        .into_iter()
        .map(|(tid, thread)| waiter(tid, &thread, tasks.get(&tid)))
        .collect())
}

fn tasks(plane: &mut Plane, parked: &[(u32, Thread)]) -> HashMap<u32, Task> {
    let from_kernel = if plane.has_census() {
        plane.census()
    } else {
        Err(io::ErrorKind::Unsupported.into())
    };
    let tasks = from_kernel.unwrap_or_else(|_| {
        let mut pids: Vec<u32> = parked.iter().map(|(_, thread)| thread.tgid).collect();
        pids.sort_unstable();
        pids.dedup();
        pids.into_iter()
            .filter_map(|pid| census::from_proc(pid).ok())
            .flatten()
            .collect()
    });
    tasks.into_iter().map(|task| (task.tid, task)).collect()
}

fn waiter(tid: u32, thread: &Thread, task: Option<&Task>) -> Waiter {
    let key = LockKey {
        address: thread.address,
        tgid: thread.tgid,
        generation: thread.generation,
    };
    // A thread that woke in between has other registers; then there is nothing to unwind.
    let asleep = task.filter(|task| task.state != 0 && task.tgid == thread.tgid);
    Waiter {
        tid,
        comm: task
            .map(|task| decode::comm(&task.comm))
            .unwrap_or_default(),
        key,
        op: thread.op,
        value: thread.value,
        regs: asleep.map_or_else(Regs::default, |task| task.regs),
        since_ns: Some(thread.since_ns),
        at_least: thread.flags & PREEXISTING != 0,
        stack: Rc::default(),
    }
}

/// Builds the report.
///
/// # Errors
/// A table cannot be read.
pub fn build(
    plane: &mut Plane,
    engine: &mut Engine,
    started_at: SystemTime,
    duration: Duration,
) -> Result<Capture, PlaneError> {
    let mut waiters = waiters(plane)?;
    for waiter in &waiters {
        engine.meet(waiter.key);
    }
    let without_stack = waiter::unwind(&mut waiters, &mut engine.symbols);
    let words = words(plane, engine, waiters);
    let assembled = lock::assemble(
        words,
        &mut Sources {
            symbols: &mut engine.symbols,
            processes: &engine.processes,
            keepsakes: &engine.keepsakes,
            now_ns: monotonic_ns(),
        },
    );
    let mut loss = plane.losses()?;
    loss.extend(engine.losses());
    loss.insert("waiters_not_unwound".into(), without_stack);
    let processes = processes(&assembled, engine);
    Ok(Capture {
        schema: SCHEMA.into(),
        started_at: time::rfc3339(started_at),
        duration_ns: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
        plan: plane.plan().to_vec(),
        loss,
        processes,
        locks: assembled.locks,
    })
}

fn words(plane: &Plane, engine: &Engine, waiters: Vec<Waiter>) -> Vec<Word> {
    let mut by_key: HashMap<LockKey, Vec<Waiter>> = HashMap::new();
    for waiter in waiters {
        by_key.entry(waiter.key).or_default().push(waiter);
    }
    plane
        .locks
        .iter()
        .map(|(_, stats)| Word {
            key: stats.key,
            stats: Some(stats),
            waiters: by_key.remove(&stats.key).unwrap_or_default(),
            paths: engine
                .stacks
                .of(&stats.key)
                .map(|(stack, tally)| (Rc::clone(stack), tally))
                .collect(),
        })
        .collect()
}

/// Every process that has a lock in the report.
fn processes(assembled: &Assembled, engine: &Engine) -> Vec<Process> {
    let mut spaces: BTreeMap<(u32, u32), Space> = BTreeMap::new();
    let keys = engine.keepsakes.keys().map(space_of);
    for space in keys.chain(assembled.parked.keys().copied()) {
        spaces.insert((space.pid, space.generation), space);
    }
    let listed = |space: &Space| assembled.locks.iter().any(|lock| lock.pid == space.pid);
    spaces
        .into_values()
        .filter(listed)
        .map(|space| {
            let mut process = engine.processes.get(space);
            process.parked = assembled.parked.get(&space).cloned().unwrap_or_default();
            process
        })
        .collect()
}
