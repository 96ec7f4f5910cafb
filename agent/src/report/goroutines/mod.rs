//! Goroutines in a report: counted, grouped, their locks among those of threads, and why they wait.
//!
//! A snapshot looks once. Go itself notes seldom or late since when a goroutine waits, so that ages are often not known; a
//! recording looks more often ([`ageing`]).

pub mod ageing;
mod chain;
mod ends;
mod frames;
mod groups;
pub mod live;
mod locks;
pub mod one;
pub mod parked;
mod wait;

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use self::{
    ends::Ends,
    locks::{Looked, Waited},
    parked::Parked,
    wait::Waits,
};
use super::{engine::Engine, reach::BETWEEN};
use crate::{
    explain::graph::Facts,
    ingest::goroutines,
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
    /// All time waited for each of them, as far as it was measured, in nanoseconds.
    pub ranks: Vec<u128>,
    /// What keeps them, for the graph.
    pub facts: Facts,
    /// Threads that they wait on, as (process id, thread id).
    pub threads: BTreeSet<(u32, u32)>,
}

impl Found {
    /// Puts the locks among those of threads, which are ranked likewise: most time waited first.
    pub fn merge(&mut self, locks: &mut Vec<Lock>, ranks: Vec<u128>) {
        let goroutines = self.ranks.drain(..).zip(self.locks.drain(..));
        let mut all: Vec<(u128, Lock)> = ranks.into_iter().zip(locks.drain(..)).collect();
        all.extend(goroutines);
        all.sort_by_key(|(rank, _)| Reverse(*rank));
        locks.extend(all.into_iter().map(|(_, lock)| lock));
    }

    fn add(&mut self, locks: Vec<Waited>) {
        for Waited { lock, rank, .. } in locks {
            self.locks.push(lock);
            self.ranks.push(rank);
        }
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

/// Looks at the goroutines of processes that were recognised, and at what was measured of those that are gone; `ages` are
/// those of looks before. `waits`
/// reads which waits are on record now.
///
/// # Cost
/// See [`Census::take`].
#[must_use]
pub fn look(
    recognised: Vec<Recognised>,
    mut ages: HashMap<Space, Ages>,
    engine: &mut Engine,
    measured: &mut Parked,
    waits: &mut dyn FnMut() -> goroutines::Waits,
) -> Found {
    let mut found = Found::default();
    let began = Instant::now();
    let mut gone: BTreeSet<Space> = measured.semaphores.keys().copied().collect();
    for (space, program) in recognised {
        let options = Options {
            time: time_left(began, engine),
            ..Options::default()
        };
        let ages = ages.remove(&space).unwrap_or_default();
        match program.and_then(|program| Census::take(program, options)) {
            Ok(census) => {
                process(space, &census, ages, engine, measured, waits, &mut found);
                gone.remove(&space);
            }
            Err(error) => found.go.push(unreadable(space.pid, &error)),
        }
    }
    for space in gone {
        let looked = Looked {
            census: None,
            ages: &Ages::default(),
            measured,
            space,
        };
        found.add(locks::of(looked, &mut Waits::default(), engine));
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
    census: &Census,
    mut ages: Ages,
    engine: &mut Engine,
    measured: &mut Parked,
    waits: &mut dyn FnMut() -> goroutines::Waits,
    found: &mut Found,
) {
    if ages.is_empty() {
        // It joined later.
        ages = engine.live.meet(space, &census.program).take_ages();
    }
    let has_looked_before = !ages.is_empty();
    ages.note(census);
    if has_looked_before {
        std::thread::sleep(BETWEEN);
        ages.confirm(census);
    }
    // Not earlier: who has been in the same wait since before the census is in it still.
    measured.waits = waits();
    ages.learn(census, |goroutine| measured.since_ns(space, goroutine));
    let ends = Ends::of_all(census);
    let mut awaited = Waits::of(census);
    let looked = Looked {
        census: Some(census),
        ages: &ages,
        measured,
        space,
    };
    let mut locks = locks::of(looked, &mut awaited, engine);
    found.go.push(groups::of(census, &awaited, &ages, &ends));
    // Most waiters come first; of the others there is nothing to explain.
    let waited_for = locks.partition_point(|waited| !waited.waiters.is_empty());
    let waited_for = locks.get_mut(..waited_for).unwrap_or_default();
    let chain = chain::find(census, waited_for, &ages, &ends);
    found.facts.append(chain.facts);
    found.threads.extend(chain.threads);
    found.add(locks);
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
