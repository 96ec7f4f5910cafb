//! One process that is written in Go: polled several times a second, and looked at closer when somebody waits.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    locks::{FIRST, Locks},
    names::Names,
    seen::Seen,
};
use crate::{
    ingest::clock::monotonic_ns,
    model::{
        go::Goroutines,
        watch::{Go, Process, ProcessKey},
    },
    proc::{process::Proc, workload},
    runtime::go::{Poll, Program, tally::Tally},
    symbol::Space,
};

/// Locks that get a name in one look.
const NAMED: usize = 8;
/// A look that took so long is not taken again before so many times as long have passed.
const LOOKS_SHARE: u32 = 100;
/// It is taken again after so many times the usual time in any case.
const MAX_REST: u32 = 20;
/// The same for counting all goroutines, and how often they are counted at most.
const COUNTS_SHARE: u32 = 500;
/// See [`COUNTS_SHARE`].
const COUNTED_EVERY: Duration = Duration::from_secs(10);
/// When so many more wait than at the last look, it is time for another one.
const MANY: u64 = 16;

/// How much is done: the agent may have to do less.
#[derive(Clone, Copy, Debug)]
pub struct Depth {
    /// Least time between two looks at who waits for what.
    pub looks: Duration,
    /// Locks get names, and all goroutines are counted.
    pub names: bool,
    /// Waiters of one lock that are worth a call.
    pub call_at: u64,
}

/// When something is to be done again.
#[derive(Clone, Copy, Debug, Default)]
struct Due(Option<Instant>);

impl Due {
    fn is_now(self, now: Instant) -> bool {
        self.0.is_none_or(|due| now >= due)
    }

    /// It was begun at `now` and has just been done.
    fn done(&mut self, now: Instant, every: Duration, share: u32) {
        let rest = (now.elapsed() * share).min(every * MAX_REST);
        self.0 = Some(now + every.max(rest));
    }
}

/// See the module.
#[derive(Debug)]
pub struct Watched {
    /// What it is.
    process: Process,
    /// With the id it names the process for good.
    start_ticks: Option<u64>,
    poll: Poll,
    version: String,
    reasons: Vec<String>,
    locks: Locks,
    tally: Tally,
    all: Option<Goroutines>,
    peak: u64,
    look: Due,
    count: Due,
    /// When the last look was, on the monotonic clock in nanoseconds.
    looked_at_ns: u64,
    /// Waiters then.
    looked_at: u64,
    /// Most waiters of one lock then.
    most: u64,
}

/// What one turn has brought.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    /// It is gone.
    pub is_gone: bool,
    /// It was looked at.
    pub news: Option<Seen>,
    /// A lock has got so many waiters that somebody should know now.
    pub calls: bool,
    /// Waiters that made no sense.
    pub torn: u64,
}

impl Watched {
    /// A process that was opened.
    #[must_use]
    pub fn new(program: &Program, process: Process) -> Self {
        Self {
            start_ticks: start_ticks(program.pid),
            poll: Poll::of(program),
            version: program.version.text.clone(),
            reasons: program.globals.reasons.clone(),
            process,
            locks: Locks::default(),
            tally: Tally::default(),
            all: None,
            peak: 0,
            look: Due::default(),
            count: Due::default(),
            looked_at_ns: 0,
            looked_at: 0,
            most: 0,
        }
    }

    /// Whether the id still stands for it.
    #[must_use]
    pub fn is_same(&self) -> bool {
        start_ticks(self.process.key.pid) == self.start_ticks
    }

    /// Looks at it, as close as it is worth.
    pub fn turn(&mut self, depth: Depth, names: &mut Names) -> Turn {
        let now = Instant::now();
        let pid = self.process.key.pid;
        let (Some(waiting), Some(peak)) = (self.poll.waiting(), self.poll.goroutines()) else {
            return Turn {
                is_gone: true,
                ..Turn::default()
            };
        };
        let is_first = self.peak == 0;
        self.peak = peak;
        let mut turn = Turn::default();
        let is_much = waiting >= self.looked_at.saturating_mul(2).saturating_add(MANY);
        let is_busy = waiting > 0 || self.looked_at > 0;
        let mut is_news = is_first;
        if is_busy && (self.look.is_now(now) || is_much) {
            self.looked_at_ns = monotonic_ns();
            // There cannot be more waiters than there ever were goroutines.
            match self.poll.queues(FIRST).filter(|_| waiting <= peak) {
                Some(queues) => {
                    turn.torn = queues.torn;
                    self.locks
                        .take(queues, &self.reasons, now, monotonic_ns(), |addresses| {
                            self.poll.records(addresses)
                        });
                }
                None => turn.torn = 1,
            }
            if depth.names {
                self.name(names);
            }
            let most = self.locks.most();
            turn.calls = most >= depth.call_at && self.most < depth.call_at;
            (self.looked_at, self.most) = (waiting, most);
            self.look.done(now, depth.looks, LOOKS_SHARE);
            is_news = true;
        }
        if depth.names && self.count.is_now(now) {
            let began = Instant::now();
            let counted = self
                .tally
                .count(&self.poll, &self.reasons, || names.program(pid));
            is_news |= counted.is_some();
            self.all = counted.or(self.all.take());
            self.count.done(began, COUNTED_EVERY, COUNTS_SHARE);
        }
        turn.news = is_news.then(|| self.seen());
        turn
    }

    fn name(&mut self, names: &mut Names) {
        let pid = self.process.key.pid;
        let space = Space {
            pid,
            generation: self.start_ticks.map_or(0, |ticks| ticks as u32),
        };
        for (semaphore, record) in self.locks.nameless(monotonic_ns(), NAMED) {
            if let Some(named) = names.name(space, semaphore, &record) {
                self.locks.name(semaphore, named);
            }
        }
    }

    fn seen(&self) -> Seen {
        Seen {
            process: self.process.clone(),
            at_ns: self.looked_at_ns,
            go: Arc::new(Go {
                version: self.version.clone(),
                error: None,
                parked: self.locks.parked(),
                peak: self.peak,
                all: self.all.clone(),
            }),
            rows: self.locks.rows(),
        }
    }
}

/// A process that is written in Go and cannot be read.
#[must_use]
pub fn unreadable(process: Process, version: String, error: String) -> Seen {
    Seen {
        process,
        at_ns: monotonic_ns(),
        go: Arc::new(Go {
            version,
            error: Some(error),
            ..Go::default()
        }),
        rows: Vec::new(),
    }
}

/// What `/proc` says of a process.
#[must_use]
pub fn describe(pid: u32) -> Process {
    let proc = Proc::default();
    let described = proc.describe(pid);
    let mut workload = workload::of_pid(&proc, pid);
    workload.cgroup = workload.cgroup.or(described.cgroup);
    Process {
        key: ProcessKey { pid, generation: 0 },
        comm: described.comm,
        exe: described.exe,
        workload: Arc::new(workload),
        parked: BTreeMap::new(),
        go: None,
    }
}

fn start_ticks(pid: u32) -> Option<u64> {
    Proc::default().stat(pid).map(|stat| stat.start_ticks)
}
