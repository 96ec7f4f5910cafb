//! The thread that names: the functions of a report, applied to one word at a time.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use holdup_abi::lock::{self as abi, LockKey};

use super::{
    Sample, Told,
    inbox::{Inbox, Job},
};
use crate::{
    ingest::{
        census,
        clock::monotonic_ns,
        decode::{self, Record, Stack},
    },
    model::{
        explanation::LockRef,
        watch::{Process, ProcessKey},
    },
    proc::{memory::Copied, process::Proc, workload},
    report::{
        holder::{self, Around, owner},
        holds::Measured,
        lock::{self, Assembled, Sources, Word, space_of},
        process::Processes,
        reach::sharers::Sharers,
        stacks::{RawStack, Tally},
        waiter::{self, Waiter},
    },
    symbol::{Limits, Losses, Space, Symbols},
    watch::{
        bell::Waker,
        table::{Answer, Held, Identity, Question},
    },
};

/// Bounds for months of work: half of what a report may take, since a process that was looked at is seldom looked at again.
const LIMITS: Limits = Limits {
    spaces: 128,
    modules: 256,
    section_bytes: 32 << 20,
    symbol_bytes: 64 << 20,
    total_symbol_bytes: 64 << 20,
    resolvers: 16,
    symbols: 32_768,
    perf_map_bytes: 32 << 20,
    frames: 128,
    scan_words: 512,
    stack_time: Duration::from_millis(500),
    refresh: Duration::from_secs(1),
};
/// Processes remembered before all are forgotten.
const MAX_PROCESSES: usize = 4096;
/// Texts kept to be shared before those that nobody uses are dropped.
const FEW_TEXTS: usize = 1024;
/// How long it is taken for granted which processes share memory.
const SHARERS_AGE: Duration = Duration::from_secs(10);

/// Works until nobody asks any more.
pub(super) fn run(
    inbox: &Inbox,
    tell: &mpsc::SyncSender<Told>,
    losses: &Mutex<Losses>,
    bell: &Waker,
) {
    let _guard = Guard(inbox);
    let mut worker = Worker::default();
    while let Some((job, is_urgent)) = inbox.take() {
        let told = match job {
            Job::Question(question) => Told::Word(Box::new(worker.question(&question)), is_urgent),
            Job::Sample(sample) => Told::Word(Box::new(worker.sample(&sample)), is_urgent),
            Job::Process(process) => Told::Process(Box::new(worker.process(process))),
        };
        if let Ok(mut losses) = losses.lock() {
            *losses = worker.symbols.losses();
        }
        if tell.send(told).is_err() {
            return;
        }
        if is_urgent && inbox.is_at_ease() {
            bell.wake();
        }
    }
}

/// Says so when the thread panics.
struct Guard<'a>(&'a Inbox);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail();
        }
    }
}

struct Worker {
    symbols: Symbols,
    processes: Processes,
    sharers: Sharers,
    sharers_at: Instant,
    texts: HashSet<Arc<str>>,
    texts_before: usize,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            symbols: Symbols::new(LIMITS),
            processes: Processes::default(),
            sharers: Sharers::default(),
            sharers_at: Instant::now(),
            texts: HashSet::new(),
            texts_before: FEW_TEXTS,
        }
    }
}

impl Worker {
    fn meet(&mut self, space: Space) {
        if self.processes.len() >= MAX_PROCESSES {
            self.processes = Processes::default();
        }
        self.processes.meet(space);
    }

    fn process(&mut self, key: ProcessKey) -> Process {
        self.meet(Space {
            pid: key.pid,
            generation: key.generation,
        });
        let described = self.processes.latest(key.pid);
        let mut workload = workload::of_pid(&Proc::default(), key.pid);
        workload.cgroup = workload.cgroup.or(described.cgroup);
        Process {
            key,
            comm: described.comm,
            exe: described.exe,
            workload: Arc::new(workload),
            parked: std::collections::BTreeMap::new(),
            go: None,
        }
    }

    /// By a thread that waits, if it still does, and by the word's memory.
    fn question(&mut self, question: &Question) -> Answer {
        let key = question.key;
        self.meet(space_of(&key));
        let from_ns = monotonic_ns();
        let waiter = question
            .waiter
            .and_then(|(tid, since_ns)| self.waiter(&key, tid, since_ns));
        let had_stack = waiter
            .as_ref()
            .is_some_and(|waiter| !waiter.stack.is_empty());
        let stats = abi::Lock {
            key,
            op: question.op,
            value: question.value,
            ..abi::Lock::EMPTY
        };
        let assembled = self.assemble(Word {
            key,
            stats: Some(stats),
            waiters: waiter.into_iter().collect(),
            paths: Vec::new(),
            measured: Measured::default(),
        });
        let held = question.waiter.map(|_| held(&assembled, from_ns));
        Answer {
            place: question.place,
            key,
            identity: self.identity(&assembled),
            had_stack,
            held,
        }
    }

    /// By a stack that was copied when a wait began.
    fn sample(&mut self, sample: &Sample) -> Answer {
        let head = &sample.head;
        let key = LockKey {
            address: head.address,
            tgid: head.tgid,
            generation: head.generation,
        };
        let space = space_of(&key);
        self.meet(space);
        let frames = match decode::record(&sample.bytes) {
            Ok(Record::Sample(_, Stack::Memory(bytes))) if !bytes.is_empty() => {
                let memory = Copied {
                    base: head.regs.sp,
                    bytes,
                };
                self.symbols.unwind(space, head.regs, &memory)
            }
            Ok(Record::Sample(_, Stack::Addresses(addresses))) => {
                self.symbols.from_addresses(space, &addresses)
            }
            _ => Vec::new(),
        };
        let had_stack = !frames.is_empty();
        let tally = Tally {
            samples: 1,
            ..Tally::default()
        };
        let stats = abi::Lock {
            key,
            op: head.op,
            value: head.value,
            ..abi::Lock::EMPTY
        };
        let assembled = self.assemble(Word {
            key,
            stats: Some(stats),
            waiters: Vec::new(),
            paths: vec![(RawStack::from(frames), tally)],
            measured: Measured::default(),
        });
        Answer {
            place: head.slot,
            key,
            identity: self.identity(&assembled),
            had_stack,
            held: None,
        }
    }

    /// The thread with its stack, if it is in the wait that was seen.
    fn waiter(&mut self, key: &LockKey, tid: u32, since_ns: u64) -> Option<Waiter> {
        let look = || {
            let task = census::proc_task(key.tgid, tid).ok()?;
            let (address, op, value) = waiter::futex_wait(&task)?;
            (address == key.address).then_some((task, op, value))
        };
        let (task, op, value) = look()?;
        let stack = waiter::unwind_one(space_of(key), task.regs, &mut self.symbols);
        // One that ran while its stack was read has left a mixture behind.
        let steady = look().is_some_and(|(again, ..)| again.regs == task.regs);
        Some(Waiter {
            tid,
            comm: decode::comm(&task.comm),
            key: *key,
            op,
            value,
            regs: task.regs,
            since_ns: (since_ns != u64::MAX).then_some(since_ns),
            at_least: false,
            steady,
            stack: if steady {
                Rc::from(stack)
            } else {
                Rc::default()
            },
        })
    }

    fn assemble(&mut self, word: Word) -> Assembled {
        if self.sharers_at.elapsed() > SHARERS_AGE {
            self.forget_sharers();
        }
        let assembled = self.assemble_once(word.clone());
        // A process that has come since shares it too: before an owner is called dead, all are asked anew.
        let is_dead = assembled
            .locks
            .iter()
            .any(|lock| is_abandoned(lock, &assembled));
        if is_dead && !assembled.places.is_empty() {
            self.forget_sharers();
            return self.assemble_once(word);
        }
        assembled
    }

    fn forget_sharers(&mut self) {
        self.sharers = Sharers::default();
        self.sharers_at = Instant::now();
    }

    fn assemble_once(&mut self, word: Word) -> Assembled {
        let now_ns = monotonic_ns();
        let mut assembled = lock::assemble(
            vec![word],
            &mut Sources {
                symbols: &mut self.symbols,
                processes: &self.processes,
                keepsakes: &HashMap::new(),
                sharers: &self.sharers,
                now_ns,
                watched_ns: u64::MAX,
            },
        );
        holder::find(
            &mut assembled,
            &mut Around {
                seen: &[],
                again: &mut Vec::new,
                history: None,
                symbols: None,
                now_ns,
            },
        );
        assembled
    }

    fn identity(&mut self, assembled: &Assembled) -> Option<Identity> {
        let lock = assembled.locks.first()?;
        let text =
            |text: &Option<String>, this: &mut Self| text.as_deref().map(|text| this.shared(text));
        Some(Identity {
            address: lock.address,
            kind: lock.kind,
            id: self.shared(&lock.id),
            runtime: text(&lock.runtime, self),
            symbol: text(&lock.symbol, self),
            site: text(&lock.site, self),
        })
    }

    /// One copy of a text for all that have it.
    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        if self.texts.len() >= 2 * self.texts_before {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.texts_before = self.texts.len().max(FEW_TEXTS);
        }
        let new: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&new));
        new
    }
}

fn held(assembled: &Assembled, from_ns: u64) -> Held {
    let lock = assembled.locks.first();
    Held {
        holder: lock.and_then(|lock| lock.holder.clone()),
        abandoned: lock.is_some_and(|lock| is_abandoned(lock, assembled)),
        from_ns,
        at_ns: monotonic_ns(),
    }
}

fn is_abandoned(lock: &crate::model::Lock, assembled: &Assembled) -> bool {
    let name = LockRef {
        pid: lock.pid,
        address: lock.address,
    };
    let holder = lock.holder.as_ref();
    assembled.abandoned.contains(&name)
        || holder.is_some_and(|holder| holder.known_by == owner::ENDED)
}
