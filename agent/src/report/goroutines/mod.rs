//! Goroutines in a report: counted, grouped, their locks among those of threads, and why they wait.
//!
//! A report looks once. Go itself notes late since when a goroutine waits, so that ages are often not known.

mod chain;
mod frames;
mod groups;
mod locks;
pub mod one;
mod wait;

use std::{
    cmp::Reverse,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use self::{locks::Waited, wait::Waits};
use super::engine::Engine;
use crate::{
    explain::graph::{self, Explained},
    model::{
        GoProcess, Lock,
        explanation::{Deadlock, RootBlocker},
        process::Process,
    },
    runtime::go::{Census, Program, ages::Ages, census::Options, program::Error},
    symbol::Space,
};

/// Time for all processes together.
const TIME: Duration = Duration::from_secs(60);

/// What was found in all processes.
#[derive(Debug, Default)]
pub struct Found {
    /// Processes written in Go.
    pub go: Vec<GoProcess>,
    /// Locks that their goroutines wait for.
    pub locks: Vec<Lock>,
    /// What they wait behind.
    pub root_blockers: Vec<RootBlocker>,
    /// Those that wait for each other.
    pub deadlocks: Vec<Deadlock>,
}

impl Found {
    /// Puts what goroutines wait behind among what threads do: those that hold most up come first.
    pub fn rank(&mut self, causes: &mut Explained) {
        let roots = &mut causes.root_blockers;
        roots.append(&mut self.root_blockers);
        roots.sort_by_key(|root| Reverse((root.waiters_total, root.oldest_wait_ns)));
        let deadlocks = &mut causes.deadlocks;
        deadlocks.append(&mut self.deadlocks);
        deadlocks
            .sort_by_key(|deadlock| Reverse((deadlock.waiters_total, deadlock.oldest_wait_ns)));
    }
}

/// A process that is written in Go, or why it cannot be read.
type Recognised = (Space, Result<Arc<Program>, Error>);

/// Finds the processes that are written in Go. Their threads' stacks have names from here on, stripped or not.
///
/// # Cost
/// For each process, its executable's headers; see [`Program::open`] for those that are.
#[must_use]
pub fn recognise(spaces: &[Space], engine: &mut Engine) -> Vec<Recognised> {
    let mut recognised = Vec::new();
    for &space in spaces {
        match Program::open(space.pid) {
            Err(Error::NotGo | Error::Io(_)) => {}
            Err(error) => recognised.push((space, Err(error))),
            Ok(program) => {
                let program = Arc::new(program);
                let namer = Arc::clone(&program);
                let name = move |address| frames::at(&namer, address);
                engine.symbols.name_with(space, Rc::new(name));
                recognised.push((space, Ok(program)));
            }
        }
    }
    recognised
}

/// Looks at the goroutines of processes that were recognised.
///
/// # Cost
/// See [`Census::take`].
#[must_use]
pub fn look(recognised: Vec<Recognised>, engine: &mut Engine) -> Found {
    let mut found = Found::default();
    let began = Instant::now();
    for (space, program) in recognised {
        let options = Options {
            time: time_left(began, engine),
            ..Options::default()
        };
        let looked =
            program.and_then(|program| process(space, program, options, engine, &mut found));
        if let Err(error) = looked {
            found.go.push(unreadable(space.pid, &error));
        }
    }
    found
}

/// Time for the next process.
fn time_left(began: Instant, engine: &Engine) -> Duration {
    let most = Options::default().time;
    let left = TIME.saturating_sub(began.elapsed());
    let of_report = engine
        .deadline
        .map(|deadline| deadline.saturating_duration_since(Instant::now()));
    most.min(left).min(of_report.unwrap_or(most))
}

/// Adds goroutines that wait for locks to the counts of their processes.
pub fn park(processes: &mut [Process], locks: &[Lock]) {
    let of_go = locks.iter().filter(|lock| lock.is_of_goroutines());
    for lock in of_go {
        let process = processes.iter_mut().find(|process| process.pid == lock.pid);
        if let Some(process) = process {
            *process
                .parked
                .entry(lock.kind.as_str().to_owned())
                .or_default() += lock.waiters;
        }
    }
}

fn process(
    space: Space,
    program: Arc<Program>,
    options: Options,
    engine: &mut Engine,
    found: &mut Found,
) -> Result<(), Error> {
    let census = Census::take(program, options)?;
    let mut ages = Ages::default();
    ages.note(&census);
    let waits = Waits::of(&census);
    found.go.push(groups::of(&census, &waits, &ages));
    let mut locks = locks::of(&census, &waits, &ages, space, engine);
    let mut explained = graph::explain(&chain::facts(&census, &mut locks));
    found.locks.extend(locks.into_iter().map(|waited: Waited| {
        let lock = waited.lock;
        let explanation = explained.locks.remove(&(lock.name(), lock.kind));
        Lock {
            explanation,
            ..lock
        }
    }));
    found.root_blockers.append(&mut explained.root_blockers);
    found.deadlocks.append(&mut explained.deadlocks);
    Ok(())
}

/// What to say of a process that could not be read.
fn unreadable(pid: u32, error: &Error) -> GoProcess {
    let version = match error {
        Error::Unsupported { version, .. } => version.clone(),
        _ => String::new(),
    };
    GoProcess {
        pid,
        version,
        error: Some(error.to_string()),
        ..GoProcess::default()
    }
}
