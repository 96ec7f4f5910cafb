//! Programs written in Go: how many of their goroutines wait, and for what, read from outside several times a second.
//!
//! ```text
//! find (which processes) -> process (poll: how many wait) -> locks (who waits for what, since when) -> View
//!                                                              |     ^
//!                                                              v     |
//!                                                              names (the stack of one who waits)
//! ```
//!
//! All of it is done by one thread. Reading a process may get stuck behind a lock of the kernel's: then that thread is left
//! behind, and another one begins anew without that process.
//!
//! Not here: looking at all goroutines with their stacks, which is done for an incident (`evidence`).

mod find;
mod locks;
mod names;
mod notes;
mod process;
mod seen;
pub mod settings;
mod shared;
mod work;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use self::{seen::Seen, shared::Shared, work::Job};
use super::{
    bell::Waker,
    settings::{Probe, Settings},
};
use crate::model::{
    health::Level,
    watch::{GO, Process, ProcessKey, View},
};

/// Threads that are stuck at one time. With more, goroutines are not watched until one comes back.
const MAX_STUCK: usize = 4;
/// How long a process that a thread got stuck on is left alone at least; as long as that thread is stuck, it is in any case.
const SHUNNED: Duration = Duration::from_secs(10);
/// Longest time between two looks at who waits for what.
const LOOKS: Duration = Duration::from_secs(1);

/// Goroutines of all processes, as far as they are known.
#[derive(Debug)]
pub struct Goroutines {
    job: Job,
    timeout: Duration,
    bell: Waker,
    level: Level,
    runtime: Arc<str>,
    thread: Option<Thread>,
    /// Threads that have not ended.
    alive: Arc<AtomicUsize>,
    /// Until when, and while which thread is there.
    shunned: HashMap<u32, (Instant, Weak<()>)>,
    timed_out: u64,
    failed: u64,
    torn_before: u64,
}

#[derive(Debug)]
struct Thread {
    shared: Arc<Shared>,
    is_there: Weak<()>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl Goroutines {
    /// Begins to watch; rings `bell` when so many wait for one lock that it should be known at once.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(settings: &Settings, level: Level, bell: Waker) -> io::Result<Self> {
        let mut goroutines = Self {
            job: Job {
                settings: settings.go.clone(),
                looks: settings.tick.min(LOOKS),
                call_at: match settings.waiters_threshold {
                    0 => u64::MAX,
                    threshold => threshold.into(),
                },
                most: match settings.probe {
                    Probe::Default => Level::Full,
                    Probe::None => Level::Census,
                },
                shunned: Default::default(),
            },
            timeout: settings.read_timeout,
            bell,
            level,
            runtime: GO.into(),
            thread: None,
            alive: Arc::default(),
            shunned: HashMap::new(),
            timed_out: 0,
            failed: 0,
            torn_before: 0,
        };
        if settings.go.enabled {
            goroutines.thread = Some(goroutines.spawn()?);
        }
        Ok(goroutines)
    }

    fn spawn(&self) -> io::Result<Thread> {
        let shared = Arc::new(Shared::new(self.level));
        let there = Arc::new(());
        let is_there = Arc::downgrade(&there);
        let job = Job {
            shunned: self.shunned.keys().copied().collect(),
            ..self.job.clone()
        };
        let work = {
            let (shared, bell, alive) = (
                Arc::clone(&shared),
                self.bell.clone(),
                Alive::new(&self.alive),
            );
            move || {
                let _there = (alive, there);
                work::run(job, &shared, &bell);
            }
        };
        std::thread::Builder::new()
            .name("holdup-go".into())
            .spawn(work)?;
        Ok(Thread { shared, is_there })
    }

    /// Does more or less from now on.
    pub fn set_level(&mut self, level: Level) {
        self.level = level;
        if let Some(thread) = &self.thread {
            thread.shared.set_level(level);
        }
    }

    /// Whether there has been a call.
    #[must_use]
    pub fn take_call(&self) -> bool {
        let thread = self.thread.as_ref();
        thread.is_some_and(|thread| thread.shared.take_call())
    }

    /// Leaves a thread behind that is stuck or has failed.
    pub fn check(&mut self) {
        let now = Instant::now();
        self.shunned
            .retain(|_, (until, stuck)| *until > now || stuck.strong_count() > 0);
        let alive = self.alive.load(Ordering::Relaxed);
        match &self.thread {
            _ if !self.job.settings.enabled => return,
            Some(thread) => {
                let stuck_on = thread.shared.stuck_on(self.timeout);
                let has_failed = thread.is_there.strong_count() == 0;
                if stuck_on.is_none() && !has_failed {
                    return;
                }
                self.failed += u64::from(has_failed);
                self.torn_before += thread.shared.losses().0;
                if let Some(pid) = stuck_on {
                    self.timed_out += 1;
                    let stuck = Weak::clone(&thread.is_there);
                    self.shunned.insert(pid, (now + SHUNNED, stuck));
                }
                self.thread = None;
            }
            None => {}
        }
        if alive <= MAX_STUCK {
            self.thread = self.spawn().ok();
        }
    }

    /// Adds what is known to a view.
    pub fn show(&self, view: &mut View) {
        let Some(thread) = &self.thread else { return };
        for seen in thread.shared.seen() {
            add(&seen, &self.runtime, view);
        }
    }

    /// What was lost, by name; all names are present.
    #[must_use]
    pub fn losses(&self) -> BTreeMap<String, u64> {
        let thread = self.thread.as_ref();
        let (torn, left_out) = thread.map_or((0, 0), |thread| thread.shared.losses());
        BTreeMap::from([
            ("goroutine_reads_torn".into(), self.torn_before + torn),
            ("goroutine_reads_timed_out".into(), self.timed_out),
            ("goroutine_watch_failed".into(), self.failed),
            ("go_processes_left_out".into(), left_out),
        ])
    }
}

fn add(seen: &Seen, runtime: &Arc<str>, view: &mut View) {
    let pid = seen.process.key.pid;
    let key = |generation| ProcessKey { pid, generation };
    // The last one to have the id.
    let known = view.processes.range(key(0)..=key(u32::MAX)).next_back();
    let key = known.map_or(seen.process.key, |(key, _)| *key);
    let process = view.processes.entry(key).or_insert_with(|| Process {
        key,
        ..seen.process.clone()
    });
    process.go = Some(Arc::clone(&seen.go));
    if process.comm.is_empty() {
        // It has not been described yet.
        process.comm.clone_from(&seen.process.comm);
        process.exe.clone_from(&seen.process.exe);
        process.workload = Arc::clone(&seen.process.workload);
    }
    let rows = seen.rows.iter();
    view.locks
        .extend(rows.map(|row| Arc::new(row.lock(key, runtime, seen.at_ns))));
}

/// Counts a thread while it runs.
#[derive(Debug)]
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
