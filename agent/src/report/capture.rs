//! The end of a recording: tables and stacks become a [`Capture`].

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
    time::{Duration, SystemTime},
};

use holdup_abi::{
    census::Task,
    hold::{AFTER_BESIDE, BESIDE, BesideKey},
    lock::LockKey,
    record::Regs,
    thread::{IDLE, PREEXISTING, Thread},
};

use super::{
    budget::Budget,
    engine::Engine,
    explain,
    goroutines::{self, parked::Parked},
    holder::{self, Around, history::History, looks},
    holds::Measured,
    lock::{self, Assembled, Sources, Word},
    snapshot::Seen,
    waiter::{self, Waiter},
};
use crate::{
    explain::graph::Explained,
    ingest::{
        census,
        clock::monotonic_ns,
        decode,
        plane::{Plane, PlaneError},
    },
    model::{Capture, capture::SCHEMA, hold::Runqueue, process::Process},
    proc::time,
};

/// Threads in a wait now, on the kernel side's record, with their registers.
///
/// # Errors
/// The table cannot be read.
pub fn waiters(plane: &mut Plane) -> Result<Vec<Waiter>, PlaneError> {
    let parked: HashMap<u32, Thread> = plane.parked()?.into_iter().collect();
    let census = if plane.has_census() {
        plane.census().ok()
    } else {
        None
    };
    Ok(match census {
        Some(tasks) => tasks
            .iter()
            .filter_map(|task| from_census(task, &parked))
            .collect(),
        None => from_table(&parked),
    })
}

/// The census is one moment for registers and wait; the table, read a little earlier, knows the waits whose system call
/// no longer tells (`restart_syscall`).
fn from_census(task: &Task, parked: &HashMap<u32, Thread>) -> Option<Waiter> {
    if task.wait_state == IDLE {
        return None;
    }
    let known = parked
        .get(&task.tid)
        .filter(|thread| thread.since_ns == task.since_ns);
    let known = known.map(|thread| (thread.address, thread.op, thread.value));
    let (address, op, value) = known.or_else(|| waiter::futex_wait(task))?;
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
        // About to sleep or just awake: nothing to unwind.
        regs: if task.state == 0 {
            Regs::default()
        } else {
            task.regs
        },
        since_ns: Some(task.since_ns),
        at_least: task.wait_flags & PREEXISTING != 0,
        steady: false,
        stack: Rc::default(),
    })
}

/// Without the iterator: the table, and registers from `/proc`.
fn from_table(parked: &HashMap<u32, Thread>) -> Vec<Waiter> {
    let mut pids: Vec<u32> = parked.values().map(|thread| thread.tgid).collect();
    pids.sort_unstable();
    pids.dedup();
    let tasks = pids
        .into_iter()
        .filter_map(|pid| census::from_proc(pid).ok())
        .flatten();
    let tasks: HashMap<u32, Task> = tasks.map(|task| (task.tid, task)).collect();
    let waiter = |(&tid, thread): (&u32, &Thread)| {
        let task = tasks.get(&tid);
        let asleep = task.filter(|task| {
            waiter::futex_wait(task).is_some_and(|(address, ..)| address == thread.address)
        });
        Waiter {
            tid,
            comm: task
                .map(|task| decode::comm(&task.comm))
                .unwrap_or_default(),
            key: LockKey {
                address: thread.address,
                tgid: thread.tgid,
                generation: thread.generation,
            },
            op: thread.op,
            value: thread.value,
            regs: asleep.map_or_else(Regs::default, |task| task.regs),
            since_ns: Some(thread.since_ns),
            at_least: thread.flags & PREEXISTING != 0,
            steady: false,
            stack: Rc::default(),
        }
    };
    parked.iter().map(waiter).collect()
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
    // Ages are those of this moment, not of the end of the work below.
    let now_ns = monotonic_ns();
    engine.look_again(&waiters);
    // Those of processes that are gone are accounted now.
    plane.goroutines()?;
    let mut parked = Parked {
        watched_since_ns: plane.goroutines_since_ns(),
        now_ns,
        ..Parked::default()
    };
    engine.meet_goroutines(plane);
    let go = goroutines::recognise(&engine.processes.spaces(), engine);
    let mut without_stack = waiter::unwind(&mut waiters, &mut engine.symbols, &Budget::default());
    without_stack += drop_torn(plane, &mut waiters);
    let mut words = words(plane, engine, waiters)?;
    parked.take(&mut words);
    let mut assembled = lock::assemble(
        words,
        &mut Sources {
            symbols: &mut engine.symbols,
            processes: &engine.processes,
            keepsakes: &engine.keepsakes,
            sharers: &engine.sharers,
            now_ns,
            watched_ns: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
        },
    );
    let ages = std::mem::take(&mut engine.goroutines);
    let mut goroutines = goroutines::look(go, ages, engine, &mut parked, &mut || {
        plane.goroutines().unwrap_or_default()
    });
    let causes = causes(&mut assembled, &mut goroutines, plane, engine, now_ns);
    let ranks = std::mem::take(&mut assembled.ranks);
    goroutines.merge(&mut assembled.locks, ranks);
    let mut loss = plane.losses()?;
    loss.extend(engine.losses());
    loss.insert("waiters_not_unwound".into(), without_stack);
    let mut processes = processes(&assembled, engine);
    goroutines::park(&mut processes, &assembled.locks);
    Ok(Capture {
        schema: SCHEMA.into(),
        started_at: time::rfc3339(started_at),
        duration_ns: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
        plan: plane.plan().to_vec(),
        loss,
        processes,
        locks: assembled.locks,
        root_blockers: causes.root_blockers,
        deadlocks: causes.deadlocks,
        go: goroutines.go,
        entry: None,
    })
}

/// Who holds what, and why: both from looks at what goes on, nobody stopped.
fn causes(
    assembled: &mut Assembled,
    goroutines: &mut goroutines::Found,
    plane: &mut Plane,
    engine: &mut Engine,
    now_ns: u64,
) -> Explained {
    let tasks = if plane.has_census() && !assembled.threads.is_empty() {
        plane.census().unwrap_or_default()
    } else {
        Vec::new()
    };
    let seen: Vec<Seen> = tasks
        .into_iter()
        .map(|task| Seen {
            task,
            asleep_since_ns: plane.asleep_since_ns(&task),
        })
        .collect();
    let history = History::read(plane, &assembled.parts);
    holder::find(
        assembled,
        &mut Around {
            seen: &seen,
            again: &mut || plane.census().unwrap_or_default(),
            history: Some(&history),
            symbols: Some(&mut engine.symbols),
            now_ns,
        },
    );
    let plane = RefCell::new(plane);
    explain::explain(
        assembled,
        goroutines,
        engine,
        &mut || plane.borrow_mut().asleep(),
        |assembled| {
            let now = History::read(&plane.borrow(), &assembled.parts);
            looks::recorded(assembled, &history, &now)
        },
    )
}

/// A thread that woke while its stack was read left a mixture behind: only those that are still in the same wait keep
/// theirs. Returns how many lost it.
fn drop_torn(plane: &mut Plane, waiters: &mut [Waiter]) -> u64 {
    let Ok(tasks) = plane.census() else { return 0 };
    let still: HashMap<u32, u64> = tasks
        .iter()
        .filter(|task| task.wait_state != IDLE)
        .map(|task| (task.tid, task.since_ns))
        .collect();
    let mut torn = 0;
    for waiter in waiters {
        waiter.steady = still.get(&waiter.tid).copied() == waiter.since_ns;
        if !waiter.steady && !waiter.stack.is_empty() {
            waiter.stack = Rc::default();
            torn += 1;
        }
    }
    torn
}

fn words(plane: &Plane, engine: &Engine, waiters: Vec<Waiter>) -> Result<Vec<Word>, PlaneError> {
    let mut by_key: HashMap<LockKey, Vec<Waiter>> = HashMap::new();
    for waiter in waiters {
        by_key.entry(waiter.key).or_default().push(waiter);
    }
    let beside = plane.holds_beside()?;
    let ending = |lock: LockKey, ending: u32| {
        let key = BesideKey {
            lock,
            ending,
            padding: 0,
        };
        beside.get(&key).copied()
    };
    let words = plane.locks.iter().map(|(slot, stats)| Word {
        measured: Measured {
            holds: plane.holds.get(slot),
            beside: ending(stats.key, BESIDE),
            after_beside: ending(stats.key, AFTER_BESIDE),
            paths: engine.gathered.paths(&stats.key),
            runqueue: plane.tells_run_delay().then(|| Runqueue {
                waits: stats.woken + stats.timed_out + stats.interrupted + stats.error,
                wait_ns: stats.total_ns,
                ready_ns: stats.ready_ns,
            }),
        },
        key: stats.key,
        stats: Some(stats),
        waiters: by_key.remove(&stats.key).unwrap_or_default(),
        paths: engine
            .stacks
            .of(&stats.key)
            .map(|(stack, tally)| (Rc::clone(stack), tally))
            .collect(),
    });
    Ok(words.collect())
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
