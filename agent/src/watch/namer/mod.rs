//! What words are and who holds them, found out by a thread of its own: it reads memory and mappings of processes, which
//! may get stuck behind a lock of the kernel's (`mmap_lock`) for as long as the process likes. It is asked and listened to,
//! never waited for beyond a deadline. One that is stuck is left behind, and another one takes its place; the process that
//! it got stuck on is left alone for a while.

mod inbox;
mod work;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use holdup_abi::record::WaitSample;

use self::inbox::{Inbox, Job};
use super::{
    bell::Waker,
    table::{Answer, Place, Question},
};
use crate::{
    ingest::clock::monotonic_ns,
    model::watch::{Process, ProcessKey},
    symbol::Losses,
};

/// Threads that are stuck at one time. With more, nothing new is named until one comes back.
const MAX_STUCK: usize = 4;
/// How long a process that a thread got stuck on is left alone at least: as long as that thread is stuck, it is in any case.
const SHUNNED: Duration = Duration::from_secs(60);
/// Processes that are left alone at one time.
const MAX_SHUNNED: usize = 1024;
/// Answers on their way.
const ANSWERS: usize = 4096;

/// What is said.
#[derive(Debug)]
enum Told {
    /// About a word, and whether that was urgent.
    Word(Box<Answer>, bool),
    Process(Box<Process>),
}

/// A sample of a wait, with its stack.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its head.
    pub head: WaitSample,
    /// The record's bytes.
    pub bytes: Vec<u8>,
}

/// A thread that names.
#[derive(Debug)]
struct Thread {
    inbox: Arc<Inbox>,
    answers: mpsc::Receiver<Told>,
    losses: Arc<std::sync::Mutex<Losses>>,
    /// There while the thread is.
    is_there: Weak<()>,
}

/// Asks, and listens.
#[derive(Debug)]
pub struct Namer {
    bell: Waker,
    thread: Option<Thread>,
    /// Threads that have not ended.
    alive: Arc<AtomicUsize>,
    timeout: Duration,
    /// Until when, and while which thread is there.
    shunned: HashMap<u32, (Instant, Weak<()>)>,
    /// Words and processes that are asked about and answered soon.
    urgent: usize,
    timed_out: u64,
    failed: u64,
    /// What threads that are gone had lost.
    lost_before: BTreeMap<&'static str, u64>,
}

/// What was said.
#[derive(Debug, Default)]
pub struct Heard {
    /// About words.
    pub words: Vec<Answer>,
    /// About processes.
    pub processes: Vec<Process>,
    /// The thread was replaced: what it was asked is not answered.
    pub is_new: bool,
}

impl Namer {
    /// Starts a thread that gives up on a process after `timeout`, and calls `bell` when nothing urgent is left to do.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(timeout: Duration, bell: Waker) -> io::Result<Self> {
        let mut namer = Self {
            bell,
            thread: None,
            alive: Arc::default(),
            timeout,
            shunned: HashMap::new(),
            urgent: 0,
            timed_out: 0,
            failed: 0,
            lost_before: BTreeMap::new(),
        };
        namer.thread = Some(namer.spawn()?);
        Ok(namer)
    }

    fn spawn(&self) -> io::Result<Thread> {
        let inbox = Arc::new(Inbox::default());
        let losses = Arc::default();
        let (tell, answers) = mpsc::sync_channel(ANSWERS);
        let (alive, there) = (Alive::new(&self.alive), Arc::new(()));
        let is_there = Arc::downgrade(&there);
        let work = {
            let (inbox, losses) = (Arc::clone(&inbox), Arc::clone(&losses));
            let bell = self.bell.clone();
            move || {
                let _there = (alive, there);
                work::run(&inbox, &tell, &losses, &bell);
            }
        };
        std::thread::Builder::new()
            .name("holdup-namer".into())
            .spawn(work)?;
        Ok(Thread {
            inbox,
            answers,
            losses,
            is_there,
        })
    }

    /// Asks about words that somebody waits for. Returns those that there is no room for.
    pub fn ask(&mut self, questions: Vec<Question>, is_urgent: bool) -> Vec<Place> {
        let mut refused = Vec::new();
        for question in questions {
            let place = question.place;
            if !self.send(question.key.tgid, Job::Question(question), is_urgent) {
                refused.push(place);
            }
        }
        refused
    }

    /// Asks what processes are.
    pub fn describe(&mut self, processes: Vec<ProcessKey>) {
        for process in processes {
            self.send(process.pid, Job::Process(process), true);
        }
    }

    /// Passes a sample on. False when there is no room for it.
    pub fn sample(&mut self, sample: Sample) -> bool {
        self.send(sample.head.tgid, Job::Sample(Box::new(sample)), false)
    }

    fn send(&mut self, pid: u32, job: Job, is_urgent: bool) -> bool {
        let is_shunned = self.shunned.contains_key(&pid);
        let Some(thread) = self.thread.as_ref().filter(|_| !is_shunned) else {
            return false;
        };
        let taken = thread.inbox.put(job, is_urgent);
        self.urgent += usize::from(taken && is_urgent);
        taken
    }

    /// Listens until `deadline`, or until all that is urgent is answered.
    pub fn listen(&mut self, deadline: Instant) -> Heard {
        let mut heard = Heard::default();
        while self.urgent > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(thread) = &self.thread else { break };
            match thread.answers.recv_timeout(left) {
                Ok(told) => self.hear(told, &mut heard),
                Err(_) => break,
            }
        }
        while let Some(Ok(told)) = self.thread.as_ref().map(|thread| thread.answers.try_recv()) {
            self.hear(told, &mut heard);
        }
        heard.is_new = self.replace_if_stuck();
        heard
    }

    /// Whether something urgent is not listened to yet.
    #[must_use]
    pub const fn is_behind(&self) -> bool {
        self.urgent > 0
    }

    fn hear(&mut self, told: Told, heard: &mut Heard) {
        match told {
            Told::Word(answer, was_urgent) => {
                self.urgent = self.urgent.saturating_sub(usize::from(was_urgent));
                heard.words.push(*answer);
            }
            Told::Process(process) => {
                self.urgent = self.urgent.saturating_sub(1);
                heard.processes.push(*process);
            }
        }
    }

    /// Leaves a thread behind that is stuck or has failed. True when what it was asked is lost.
    fn replace_if_stuck(&mut self) -> bool {
        let now = Instant::now();
        self.shunned
            .retain(|_, (until, stuck)| *until > now || stuck.strong_count() > 0);
        let alive = self.alive.load(Ordering::Relaxed);
        if let Some(thread) = &self.thread {
            let has_failed = thread.inbox.has_failed();
            let stuck_on = thread.inbox.stuck_on(self.timeout);
            if !has_failed && stuck_on.is_none() {
                return false;
            }
            self.failed += u64::from(has_failed);
            if let Some(pid) = stuck_on {
                self.timed_out += 1;
                if self.shunned.len() < MAX_SHUNNED {
                    let stuck = Weak::clone(&thread.is_there);
                    self.shunned.insert(pid, (now + SHUNNED, stuck));
                }
            }
            if let Ok(losses) = thread.losses.lock() {
                for (name, count) in losses.named() {
                    *self.lost_before.entry(name).or_default() += count;
                }
            }
            self.thread = None;
            self.urgent = 0;
        } else if alive > MAX_STUCK {
            return false;
        }
        if alive <= MAX_STUCK {
            self.thread = self.spawn().ok();
        }
        true
    }

    /// What was lost, by name; all names are present.
    #[must_use]
    pub fn losses(&self) -> BTreeMap<String, u64> {
        let now = self.thread.as_ref().and_then(|thread| {
            let losses = thread.losses.lock().ok()?;
            Some(*losses)
        });
        let now = now.unwrap_or_default();
        let mut all: BTreeMap<String, u64> = now
            .named()
            .map(|(name, count)| {
                let before = self.lost_before.get(name).copied().unwrap_or_default();
                (name.to_owned(), before + count)
            })
            .collect();
        all.insert("reads_timed_out".into(), self.timed_out);
        all.insert("namer_failed".into(), self.failed);
        all
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.inbox.close();
    }
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

/// Monotonic time in milliseconds, never 0.
fn now_ms() -> u64 {
    (monotonic_ns() / 1_000_000).max(1)
}
