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
    lock::{self, Assembled, Sources, Word},
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

/// Every process that has a lock in the report. One that executed another program is described as the last one.
fn processes(assembled: &Assembled, engine: &Engine) -> Vec<Process> {
    let mut processes: BTreeMap<u32, Process> = BTreeMap::new();
    for pid in assembled.locks.iter().map(|lock| lock.pid) {
        processes
            .entry(pid)
            .or_insert_with(|| engine.processes.latest(pid));
    }
    for (space, parked) in &assembled.parked {
        if let Some(process) = processes.get_mut(&space.pid) {
            for (kind, count) in parked {
                *process.parked.entry(kind.clone()).or_default() += count;
            }
        }
    }
    processes.into_values().collect()
}
