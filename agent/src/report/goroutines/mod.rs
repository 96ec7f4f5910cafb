//! Goroutines in a report: counted, grouped, their locks among those of threads, and why they wait.
//!
//! A snapshot looks once. Go itself notes seldom or late since when a goroutine waits, so that ages are often not known; a
//! recording looks more often ([`ageing`]).

pub mod ageing;
mod chain;
mod ends;
mod frames;
mod groups;
mod locks;
mod wait;

use std::{
    collections::{BTreeSet, HashMap},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use self::{ends::Ends, wait::Waits};
use super::{engine::Engine, reach::BETWEEN};
use crate::{
    explain::graph::Facts,
    model::{GoProcess, Lock, process::Process},
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
    /// What keeps them, for the graph.
    pub facts: Facts,
    /// Threads that they wait on, as (process id, thread id).
    pub threads: BTreeSet<(u32, u32)>,
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

/// Looks at the goroutines of processes that were recognised; `ages` are those of looks before.
///
/// # Cost
/// See [`Census::take`].
#[must_use]
pub fn look(
    recognised: Vec<Recognised>,
    mut ages: HashMap<Space, Ages>,
    engine: &mut Engine,
) -> Found {
    let mut found = Found::default();
    let began = Instant::now();
    for (space, program) in recognised {
        let options = Options {
            time: time_left(began, engine),
            ..Options::default()
        };
        let ages = ages.remove(&space).unwrap_or_default();
        let looked =
            program.and_then(|program| process(space, program, options, ages, engine, &mut found));
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
    mut ages: Ages,
    engine: &mut Engine,
    found: &mut Found,
) -> Result<(), Error> {
    let census = Census::take(program, options)?;
    let has_looked_before = !ages.is_empty();
    ages.note(&census);
    if has_looked_before {
        std::thread::sleep(BETWEEN);
        ages.confirm(&census);
    }
    let waits = Waits::of(&census);
    let ends = Ends::of_all(&census);
    found.go.push(groups::of(&census, &waits, &ages, &ends));
    let mut locks = locks::of(&census, &waits, &ages, space, engine);
    let chain = chain::find(&census, &mut locks, &ages, &ends);
    found.facts.append(chain.facts);
    found.threads.extend(chain.threads);
    found
        .locks
        .extend(locks.into_iter().map(|waited| waited.lock));
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
