//! Putting a bundle together, within its time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{Settings, facts, flight::Recorder, rests::Rests};
use crate::{
    model::{
        Snapshot,
        bundle::{
            Bundle, CgroupFacts, Counts, Flight, Limits, ProcessFacts, Recorded, SCHEMA, Why,
        },
        health::Health,
        histogram::Bucket,
        incident::{Change, Event, Incident},
        lock::WaitNs,
        watch::{self, View},
    },
    pipeline::{self, SnapshotOptions, Watch},
    probe::feature::Features,
    proc::time,
    report::thin,
    sink::units,
};

/// What a bundle is made from besides the target itself.
#[derive(Clone, Debug)]
pub struct Request {
    /// What for.
    pub why: Why,
    /// The incident as it is now.
    pub incident: Incident,
    /// The view that it was found in, or a later one.
    pub view: Arc<View>,
    /// The minutes before.
    pub flight: Flight,
    /// How the agent is.
    pub health: Health,
}

impl Request {
    /// Of an event; `None` when none is due for it.
    #[must_use]
    pub fn of(
        event: &Event,
        view: &Arc<View>,
        recorder: &Recorder,
        health: Health,
    ) -> Option<Self> {
        let why = match event.change {
            // Taken before the agent was started anew.
            Change::Opened { again: true } if !event.incident.snapshots.is_empty() => return None,
            Change::Opened { .. } => Why::Opened,
            Change::Doubled => Why::Doubled,
            Change::Refreshed | Change::Explained | Change::Resolved => return None,
        };
        let incident = event.incident.clone();
        // The last one to have the id.
        let keys = view.processes.keys().filter(|key| key.pid == incident.pid);
        let address = incident.lock.as_ref().map(|lock| lock.address);
        let flight = keys
            .max()
            .map_or_else(Flight::default, |&key| recorder.slice(key, address));
        Some(Self {
            why,
            incident,
            view: Arc::clone(view),
            flight,
            health,
        })
    }
}

/// Takes bundles, one at a time or several, on threads of their own: reading a process whose memory map is locked may
/// never end, and such a thread is left behind.
#[derive(Debug)]
pub struct Collector {
    settings: Settings,
    features: Features,
    /// Threads at work or left behind.
    workers: Arc<AtomicUsize>,
    abandoned: AtomicU64,
    rests: Rests,
}

impl Collector {
    /// With these settings, on a kernel with these features.
    #[must_use]
    pub fn new(settings: Settings, features: Features) -> Self {
        Self {
            settings,
            features,
            workers: Arc::default(),
            abandoned: AtomicU64::new(0),
            rests: Rests::default(),
        }
    }

    /// Threads that were left behind since the start.
    #[must_use]
    pub fn abandoned(&self) -> u64 {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Threads that are at work or were left behind and have not ended.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.load(Ordering::Relaxed)
    }

    /// Takes a bundle. There always is one: what could not be had within the deadline is missing in it, and it says so.
    /// Blocks for the deadline at most. No thread of the target is stopped.
    #[must_use]
    pub fn collect(&self, request: Request) -> Bundle {
        let began = Instant::now();
        let Request {
            why,
            incident,
            view,
            flight,
            health,
        } = request;
        let mut limits = Limits {
            deadline_ns: nanos(self.settings.deadline),
            ceiling: self.settings.ceiling as u64,
            ..Limits::default()
        };
        let taken_at = time::rfc3339(SystemTime::now());
        let goroutines = match self.rests.refusal(incident.pid, &health, began) {
            Some(note) => {
                limits.notes.push(note);
                false
            }
            None => true,
        };
        let found = self.look(incident.pid, goroutines, began, &mut limits.notes);
        if let Some(snapshot) = &found.snapshot {
            self.rests.note(snapshot, Instant::now());
        }
        let snapshot = found.snapshot.map(|snapshot| bound(snapshot, &mut limits));
        let (locks, locks_left_out) = recorded(&view, incident.pid, self.settings.max_locks);
        limits.took_ns = nanos(began.elapsed());
        Bundle {
            schema: SCHEMA.to_owned(),
            taken_at,
            why,
            incident,
            snapshot,
            locks,
            locks_left_out,
            flight,
            process: found.process,
            cgroup: found.cgroup,
            loss: view.loss.clone(),
            health,
            limits,
        }
    }

    /// Reads the target on a thread of its own.
    fn look(&self, pid: u32, goroutines: bool, began: Instant, notes: &mut Vec<String>) -> Found {
        let (sender, receiver) = mpsc::sync_channel(2);
        let job = Job {
            pid,
            features: self.features.clone(),
            options: SnapshotOptions {
                stacks: true,
                ceiling: Some(self.settings.ceiling),
                goroutines,
                // The other half is for what follows: putting it together, and the second look.
                deadline: Some(began + self.settings.deadline / 2),
            },
        };
        if let Err(note) = self.start(move || job.run(&sender)) {
            notes.push(note);
            return Found::default();
        }
        let (found, is_late) = receive(&receiver, began + self.settings.deadline, notes);
        if is_late {
            self.abandoned.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    fn start(&self, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
        let place = Place::take(&self.workers, self.settings.max_abandoned).ok_or_else(|| {
            let most = self.settings.max_abandoned;
            format!(
                "no snapshot: {most} threads are at work or were left behind in processes that hang"
            )
        })?;
        let started = thread::Builder::new()
            .name("evidence-look".to_owned())
            .spawn(move || {
                let _place = place;
                work();
            });
        started
            .map(drop)
            .map_err(|error| format!("no snapshot: no thread could be started: {error}"))
    }
}

/// A place among the workers; given back when the thread ends, however that is.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(workers: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let more = |count: usize| (count < most).then_some(count + 1);
        let taken = workers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Self(Arc::clone(workers)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What was read of the target.
#[derive(Debug, Default)]
struct Found {
    process: Option<ProcessFacts>,
    cgroup: Option<CgroupFacts>,
    snapshot: Option<Snapshot>,
}

/// Comes in parts, what hangs last.
#[derive(Debug)]
enum Part {
    Facts(Box<(Option<ProcessFacts>, Option<CgroupFacts>)>),
    Snapshot(Box<Result<Snapshot, String>>),
}

struct Job {
    pid: u32,
    features: Features,
    options: SnapshotOptions,
}

impl Job {
    fn run(&self, to: &SyncSender<Part>) {
        let facts = (facts::process(self.pid), facts::cgroup(self.pid));
        // Nobody may be there any more to take it.
        let _ = to.send(Part::Facts(Box::new(facts)));
        let watch = Watch::Processes(vec![self.pid]);
        let snapshot = pipeline::snapshot(&self.features, &watch, &self.options)
            .map_err(|error| format!("no snapshot: {error}"));
        let _ = to.send(Part::Snapshot(Box::new(snapshot)));
    }
}

/// Takes the parts as they come; whether the thread was still at work when the time was up.
fn receive(from: &Receiver<Part>, until: Instant, notes: &mut Vec<String>) -> (Found, bool) {
    let mut found = Found::default();
    loop {
        match from.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Part::Facts(facts)) => (found.process, found.cgroup) = *facts,
            Ok(Part::Snapshot(snapshot)) => {
                match *snapshot {
                    Ok(snapshot) => found.snapshot = Some(snapshot),
                    Err(note) => notes.push(note),
                }
                return (found, false);
            }
            Err(RecvTimeoutError::Timeout) => {
                notes.push(
                    "no snapshot: the process could not be read in time; its memory map may be locked"
                        .to_owned(),
                );
                return (found, true);
            }
            Err(RecvTimeoutError::Disconnected) => {
                notes.push(
                    "no snapshot: the thread that took it failed: a bug in holdup".to_owned(),
                );
                return (found, false);
            }
        }
    }
}

/// Makes a snapshot small enough to keep, and says what that left out.
fn bound(mut snapshot: Snapshot, limits: &mut Limits) -> Snapshot {
    limits.threads = snapshot.threads.len() as u64;
    let with_stack = snapshot.threads.iter().filter(|it| !it.frames.is_empty());
    limits.stacks = with_stack.count() as u64;
    if limits.threads > limits.ceiling {
        limits.notes.push(format!(
            "{} threads are more than {}: the stacks of a sample were read; all threads are counted",
            units::count(limits.threads),
            units::count(limits.ceiling)
        ));
    }
    let unread = snapshot.loss.get("waiters_not_unwound").copied();
    if let Some(unread @ 1..) = unread {
        limits.notes.push(format!(
            "{} without a stack: too many, no time, or awake meanwhile",
            units::plural(unread, "thread", "threads")
        ));
    }
    let thin::LeftOut { threads, locks } = thin::thin(&mut snapshot);
    if threads > 0 {
        limits.notes.push(format!(
            "{} not listed one by one: each is counted with another one at the same place",
            units::plural(threads, "thread is", "threads are")
        ));
    }
    if locks > 0 {
        limits.notes.push(format!(
            "{} with fewest waiters left out of the snapshot",
            units::plural(locks, "lock", "locks")
        ));
    }
    snapshot
}

/// The locks of a process with what was counted of them; and how many more there are.
fn recorded(view: &View, pid: u32, most: usize) -> (Vec<Recorded>, u64) {
    let mut own: Vec<&watch::Lock> = Vec::new();
    for lock in &view.locks {
        if lock.process.pid == pid {
            own.push(lock);
        }
    }
    let wait_ns = |lock: &watch::Lock| lock.counts.as_ref().map(|counts| counts.wait_ns);
    own.sort_by_key(|lock| std::cmp::Reverse((lock.waiters, wait_ns(lock))));
    let left_out = own.len().saturating_sub(most) as u64;
    own.truncate(most);
    let listed = own.into_iter().map(|lock| one(lock, view.at_ns)).collect();
    (listed, left_out)
}

fn one(lock: &watch::Lock, at_ns: u64) -> Recorded {
    Recorded {
        id: lock.id.to_string(),
        address: lock.address,
        kind: lock.kind,
        symbol: lock.symbol.as_deref().map(str::to_owned),
        site: lock.site.as_deref().map(str::to_owned),
        waiters: lock.waiters,
        waiters_peak: lock.waiters_peak,
        oldest_wait_ns: lock.oldest_wait_ns(at_ns),
        oldest_is_at_least: lock.oldest_is_at_least,
        counts: lock
            .counts
            .as_deref()
            .map(|counts| self::counts(counts, at_ns)),
    }
}

fn counts(counts: &watch::Counts, at_ns: u64) -> Counts {
    let watch::Counts {
        outcomes,
        value_changed,
        wakes,
        wait_ns,
        wait_max_ns,
        last_handoff_ns,
        histogram,
    } = counts;
    let buckets = histogram
        .iter()
        .enumerate()
        .filter(|&(_, &count)| count > 0);
    Counts {
        waits: counts.waits(),
        outcomes: *outcomes,
        value_changed: *value_changed,
        wakes: *wakes,
        wait_ns: WaitNs {
            total: *wait_ns,
            max: *wait_max_ns,
        },
        last_handoff_ns: last_handoff_ns.map(|last_ns| at_ns.saturating_sub(last_ns)),
        histogram: buckets
            .map(|(index, &count)| Bucket {
                le_ns: holdup_abi::lock::bucket_le_ns(index),
                count,
            })
            .collect(),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
