//! Goroutines in a report: counted, grouped, their locks among those of threads, and why they wait.
//!
//! A report looks once. Go itself notes late since when a goroutine waits, so that ages are often not known.

mod chain;
mod frames;
mod groups;
mod locks;
mod wait;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use self::{locks::Waited, wait::Waits};
use super::engine::Engine;
use crate::{
    explain::graph,
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

/// Looks at the goroutines of those of the processes that are written in Go.
///
/// # Cost
/// For each process that is not, its executable's headers; see [`Census::take`] for the others.
#[must_use]
pub fn look(spaces: &[Space], engine: &mut Engine) -> Found {
    let mut found = Found::default();
    let began = Instant::now();
    for space in spaces {
        let options = Options {
            time: Options::default()
                .time
                .min(TIME.saturating_sub(began.elapsed())),
            ..Options::default()
        };
        if let Err(error) = process(*space, options, engine, &mut found)
            && let Some(process) = unreadable(space.pid, &error)
        {
            found.go.push(process);
        }
    }
    found
}

/// Adds goroutines that wait for locks to the counts of their processes.
pub fn park(processes: &mut [Process], locks: &[Lock]) {
    let of_go = locks
        .iter()
        .filter(|lock| lock.runtime.as_deref() == Some("go"));
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
    options: Options,
    engine: &mut Engine,
    found: &mut Found,
) -> Result<(), Error> {
    let program = Arc::new(Program::open(space.pid)?);
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

/// What to say of a process that could not be read; nothing when it is none of ours.
fn unreadable(pid: u32, error: &Error) -> Option<GoProcess> {
    let version = match error {
        Error::NotGo | Error::Io(_) => return None,
        Error::Unsupported { version, .. } => version.clone(),
        Error::TimedOut => String::new(),
    };
    Some(GoProcess {
        pid,
        version,
        error: Some(error.to_string()),
        ..GoProcess::default()
    })
}
