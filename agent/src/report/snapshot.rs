//! What is blocked right now: a census, nothing attached, nobody stopped.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    rc::Rc,
    time::SystemTime,
};

use holdup_abi::{census::Task, lock::LockKey};

use super::{
    budget::Budget,
    engine::Engine,
    explain,
    goroutines::{self, parked::Parked},
    holder::{self, Around, looks},
    holds::Measured,
    lock::{self, Assembled, Sources, Word},
    stacks::RawStack,
    syscall,
    waiter::{self, Waiter, space_of_task as space},
};
use crate::{
    ingest::{clock::monotonic_ns, decode},
    model::{
        Frame, Lock, Snapshot, plan::PlanEntry, process::Process, snapshot::SCHEMA,
        snapshot::Thread,
    },
    proc::time,
    symbol::Space,
};

/// A thread of the census.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// What the census says.
    pub task: Task,
    /// Monotonic time since which it has not run; `None` when not known.
    pub asleep_since_ns: Option<u64>,
}

/// Puts what most threads wait behind first, directly or not, and of that the lock nearest to the root: the lock that
/// most threads wait for need not be the cause.
fn by_cause(lock: &Lock) -> impl Ord + use<> {
    let explanation = lock.explanation.as_ref();
    let behind = explanation.map_or(lock.waiters, |explanation| explanation.waiters_total);
    let steps = explanation.map_or(0, |explanation| explanation.chain.len());
    (
        Reverse(behind),
        steps,
        Reverse((lock.waiters, lock.oldest_wait_ns)),
    )
}

/// Builds the report from a census. `again` takes others: a thread that ran meanwhile has left a mixture of stacks
/// behind, which is dropped. `asleep` tells since when all sleeping threads of the machine have slept.
#[must_use]
pub fn build(
    seen: &[Seen],
    mut again: impl FnMut() -> Vec<Task>,
    mut asleep: impl FnMut() -> HashMap<u32, u64>,
    plan: Vec<PlanEntry>,
    taken_at: SystemTime,
    budget: &Budget,
) -> Snapshot {
    let began_ns = monotonic_ns();
    let mut engine = Engine::default();
    engine.deadline = budget.deadline;
    let go = match budget.goroutines {
        true => goroutines::recognise(&spaces(seen), &mut engine),
        false => Vec::new(),
    };
    let mut waiters: Vec<Waiter> = seen.iter().filter_map(waiter).collect();
    engine.look_again(&waiters);
    let mut stacks = Unwound::default();
    if budget.has_stacks() {
        stacks = unwind(seen, &mut waiters, &mut engine, budget);
    }
    let steady = steady(seen, &again());
    stacks.drop_torn(&steady);
    for waiter in &mut waiters {
        waiter.steady = steady.contains(&waiter.tid) && waiter.since_ns.is_some();
        waiter.stack = stacks.of(waiter.tid);
    }
    let mut assembled = lock::assemble(
        words(waiters),
        &mut Sources {
            symbols: &mut engine.symbols,
            processes: &engine.processes,
            keepsakes: &engine.keepsakes,
            sharers: &engine.sharers,
            now_ns: began_ns,
            watched_ns: u64::MAX,
        },
    );
    holder::find(
        &mut assembled,
        &mut Around {
            seen,
            again: &mut again,
            history: None,
            symbols: budget.has_stacks().then_some(&mut engine.symbols),
            now_ns: began_ns,
        },
    );
    let mut goroutines = goroutines::look(
        go,
        HashMap::new(),
        &mut engine,
        &mut Parked::default(),
        &mut HashMap::new,
    );
    let causes = explain::explain(
        &mut assembled,
        &mut goroutines,
        &mut engine,
        &mut asleep,
        |assembled| looks::of_threads(assembled, began_ns, seen, &again()),
    );
    assembled.locks.append(&mut goroutines.locks);
    assembled.locks.sort_by_key(by_cause);
    let threads = seen
        .iter()
        .map(|seen| {
            let space = space(&seen.task);
            let frames = engine.symbols.symbolize(space, &stacks.of(seen.task.tid));
            thread(seen, began_ns, &assembled, frames)
        })
        .collect();
    let mut loss = engine.losses();
    loss.insert("waiters_not_unwound".into(), stacks.left_out);
    let mut processes = processes(seen, &assembled.parked, &mut engine);
    goroutines::park(&mut processes, &assembled.locks);
    Snapshot {
        schema: SCHEMA.into(),
        taken_at: time::rfc3339(taken_at),
        duration_ns: monotonic_ns().saturating_sub(began_ns),
        plan,
        loss,
        processes,
        locks: assembled.locks,
        root_blockers: causes.root_blockers,
        deadlocks: causes.deadlocks,
        threads,
        go: goroutines.go,
    }
}

/// Stacks by thread.
#[derive(Default)]
struct Unwound {
    stacks: HashMap<u32, RawStack>,
    /// Threads left without one: beyond the bounds, or torn.
    left_out: u64,
}

impl Unwound {
    fn of(&self, tid: u32) -> RawStack {
        self.stacks.get(&tid).cloned().unwrap_or_default()
    }

    fn drop_torn(&mut self, steady: &HashSet<u32>) {
        let before = self.stacks.len();
        self.stacks.retain(|tid, _| steady.contains(tid));
        self.left_out += (before - self.stacks.len()) as u64;
    }
}

/// Threads that have not run between the two looks. Without the scheduler's clock nobody can tell, but a thread that
/// is in the same call at the same place has at least the same stack.
#[must_use]
pub fn steady(first: &[Seen], second: &[Task]) -> HashSet<u32> {
    let mark = |task: &Task| (task.last_ran_ns, task.syscall, task.regs.sp, task.args);
    let second: HashMap<u32, _> = second.iter().map(|task| (task.tid, mark(task))).collect();
    let same = |seen: &&Seen| second.get(&seen.task.tid) == Some(&mark(&seen.task));
    first
        .iter()
        .filter(same)
        .map(|seen| seen.task.tid)
        .collect()
}

fn unwind(seen: &[Seen], waiters: &mut [Waiter], engine: &mut Engine, budget: &Budget) -> Unwound {
    let left_out = waiter::unwind(waiters, &mut engine.symbols, budget);
    let stacks = waiters
        .iter()
        .map(|waiter| (waiter.tid, Rc::clone(&waiter.stack)));
    let mut unwound = Unwound {
        stacks: stacks.collect(),
        left_out,
    };
    let mut others = 0;
    for Seen { task, .. } in seen {
        if task.state == 0 || unwound.stacks.contains_key(&task.tid) {
            continue;
        }
        others += 1;
        if others > budget.others || budget.is_over() {
            unwound.left_out += 1;
            continue;
        }
        let stack = waiter::unwind_one(space(task), task.regs, &mut engine.symbols);
        unwound.stacks.insert(task.tid, stack.into());
    }
    unwound
}

fn waiter(
    Seen {
        task,
        asleep_since_ns,
    }: &Seen,
) -> Option<Waiter> {
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
        since_ns: *asleep_since_ns,
        at_least: true,
        steady: false,
        stack: Rc::default(),
    })
}

/// Waiters by what they wait for.
pub fn words(waiters: Vec<Waiter>) -> Vec<Word> {
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
            measured: Measured::default(),
        })
        .collect()
}

fn thread(
    Seen {
        task,
        asleep_since_ns,
    }: &Seen,
    now_ns: u64,
    assembled: &Assembled,
    frames: Vec<Frame>,
) -> Thread {
    let since = asleep_since_ns.filter(|_| task.state != 0);
    let waits_for = assembled.threads.get(&task.tid);
    Thread {
        tid: task.tid,
        pid: task.tgid,
        comm: decode::comm(&task.comm),
        state: syscall::state(task.state).into(),
        syscall: (task.state != 0)
            .then(|| syscall::name(task.syscall))
            .flatten(),
        lock: waits_for.map(|wait| wait.address),
        kind: waits_for.map(|wait| wait.kind),
        since_ns: since.map(|since| now_ns.saturating_sub(since)),
        frames,
        alike: None,
    }
}

/// Address spaces of all threads.
fn spaces(seen: &[Seen]) -> Vec<Space> {
    let mut spaces: Vec<Space> = seen.iter().map(|seen| space(&seen.task)).collect();
    spaces.sort_unstable_by_key(|space| (space.pid, space.generation));
    spaces.dedup();
    spaces
}

fn processes(
    seen: &[Seen],
    parked: &HashMap<Space, BTreeMap<String, u64>>,
    engine: &mut Engine,
) -> Vec<Process> {
    spaces(seen)
        .into_iter()
        .map(|space| {
            engine.processes.meet(space);
            let mut process = engine.processes.latest(space.pid);
            process.parked = parked.get(&space).cloned().unwrap_or_default();
            process
        })
        .collect()
}
