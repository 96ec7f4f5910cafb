//! The agent's eyes: once a tick, everything that waits on the node as one [`crate::model::watch::View`].
//!
//! ```text
//! kernel tables -> scan (what changed) -> table (rows) -> View
//!                                         |     ^
//!                                         v     |  what a word is, who holds it
//!                                          namer   (reads processes, may get stuck, is never waited for)
//! ```
//!
//! - [`settings`]: how often, how much
//! - `eyes`: what is attached, and switching it over; `scan`: reading it; [`cost`]: what it costs
//! - `table`: words and rows, pure
//! - `namer`: a thread that finds out what words are and who holds them
//! - [`go`]: goroutines of programs written in Go
//! - `circles`: owners that wait for each other
//! - `reclaim`, `grace`: slots of what is gone go back to the kernel side
//! - `bell`: sleeping until the next tick, or until the kernel calls
//!
//! Not here: judging whether anything is wrong (`detect`), and evidence for it (`evidence`).

mod bell;
mod circles;
pub mod cost;
mod eyes;
pub mod go;
mod grace;
mod namer;
mod reclaim;
mod scan;
pub mod settings;
mod table;

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use holdup_abi::lock::LockKey;

pub use self::{
    bell::{Waker, Why},
    settings::Settings,
};
use self::{
    cost::Costs,
    eyes::Eyes,
    go::Goroutines,
    namer::{Heard, Namer, Sample},
    reclaim::Reclaim,
    table::{Moment, NotCounted, Question, Table, Tick},
};
use crate::{
    ingest::{clock::monotonic_ns, locks::LockTable, plane::PlaneError},
    model::{health::Level, watch::View},
    probe::feature::Features,
};

/// How long a tick waits for what it has asked: then words stay unknown, and holders as they were, until the next one.
const PATIENCE: Duration = Duration::from_millis(50);
/// How soon the next tick is at the soonest, when the kernel side calls or something is not settled yet.
const SOON: Duration = Duration::from_millis(100);
/// Ticks in a row that come early; one that does not need another ends the row.
const MAX_EARLY: u32 = 5;
/// Least time between two turns of taking in samples, which come in bursts.
const NAP: Duration = Duration::from_millis(20);
/// Words that somebody waits for and that are named in one tick, some 100 us each.
const NAMES: usize = 512;
/// Words that nobody waits for and that are named in one second.
const IDLE_NAMES_PER_SECOND: u32 = 128;
/// Samples that are looked at in one second, some 100 us each.
const SAMPLES_PER_SECOND: u32 = 256;
/// Processes that are looked at whether they live in one tick, less than a microsecond each.
const LIVES: usize = 4096;
/// Processes that are described in one tick.
const DESCRIBED: usize = 1024;
/// The share of the table that is kept free, as a divisor: when less is, the idlest locks go.
const FREE_SHARE: usize = 8;
/// Tenths of a second that a lock has been idle at least when it must go for want of room.
const LEAST_IDLE: Tick = 10;

/// How full the table is, as of the last tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// Futex words that are told apart.
    pub locks: usize,
    /// How many there can be; `None` without hooks.
    pub capacity: Option<usize>,
    /// Processes that they belong to.
    pub processes: usize,
}

/// Watches the node. It belongs to one thread; [`Waker`]s may go to others.
#[expect(missing_debug_implementations, reason = "maps are not worth printing")]
pub struct Watch {
    settings: Settings,
    eyes: Eyes,
    namer: Namer,
    goroutines: Goroutines,
    table: Table,
    reclaim: Reclaim,
    waker: Waker,
    /// Rung when a grace period is over, and when the namer has answered.
    bell: Waker,
    /// The kernel side has called since the last tick.
    is_called: bool,
    /// The last tick did without answers to what it had asked.
    is_behind: bool,
    began: Instant,
    last: Instant,
    due: Instant,
    early: u32,
    swept: Instant,
    /// Samples that may still be looked at.
    allowance: u32,
    set_aside: u64,
}

impl Watch {
    /// Attaches what the settings say, and takes over the threads that are parked already.
    ///
    /// # Errors
    /// Privileges, or a kernel without what is required.
    pub fn start(settings: &Settings, features: &Features) -> Result<Self, PlaneError> {
        Self::start_at(Level::Full, settings, features)
    }

    /// As [`Self::start`], doing no more than `level`.
    ///
    /// # Errors
    /// As there.
    pub fn start_at(
        level: Level,
        settings: &Settings,
        features: &Features,
    ) -> Result<Self, PlaneError> {
        let own = |name| move |source| PlaneError::Map { name, source };
        let waker = Waker::new().map_err(own("eventfd"))?;
        let bell = Waker::new().map_err(own("eventfd"))?;
        let now = Instant::now();
        Ok(Self {
            eyes: Eyes::open(settings, features, level)?,
            namer: Namer::start(settings.read_timeout, bell.clone())
                .map_err(own("naming thread"))?,
            goroutines: Goroutines::start(settings, level, bell.clone())
                .map_err(own("goroutine thread"))?,
            table: Table::default(),
            reclaim: Reclaim::new(bell.clone()),
            settings: settings.clone(),
            waker,
            bell,
            is_called: false,
            is_behind: false,
            began: now,
            last: now,
            due: now,
            early: 0,
            swept: now,
            allowance: SAMPLES_PER_SECOND,
            set_aside: 0,
        })
    }

    /// Ends [`Self::wait`] from another thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Sleeps until the next tick is due, the kernel side calls, or a [`Waker`] does; takes in samples meanwhile.
    ///
    /// # Errors
    /// The kernel refuses to wait.
    pub fn wait(&mut self) -> io::Result<Why> {
        let mut nap = Duration::ZERO;
        loop {
            let left = self.due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let why = if self.is_called {
                    Why::Crossed
                } else {
                    Why::Due
                };
                return Ok(why);
            }
            // While it naps, the ring buffer is not listened to.
            let ring = self.eyes.ring().filter(|_| nap.is_zero());
            let timeout = if nap.is_zero() { left } else { left.min(nap) };
            let rung = bell::wait([&self.waker, &self.bell], ring, timeout)?;
            if rung.wakers[0] {
                return Ok(Why::Woken);
            }
            if rung.wakers[1] {
                if self.goroutines.take_call() {
                    self.is_called = true;
                    self.due = self.due.min(self.last + SOON);
                }
                if self.is_behind && self.early < MAX_EARLY {
                    self.due = self.due.min(self.last + SOON);
                }
                if let Some(plane) = self.eyes.plane() {
                    // What cannot be done now fails in the next tick again, and is told there.
                    let _ = self.reclaim.advance(&mut self.table, plane);
                }
            }
            if nap.is_zero() && rung.ring {
                if self.drain() {
                    self.is_called = true;
                    self.due = self.due.min(self.last + SOON);
                }
                nap = NAP;
            } else {
                nap = Duration::ZERO;
            }
        }
    }

    /// Looks at the node. Never waits for a process that is looked at.
    ///
    /// # Errors
    /// A table of the kernel side cannot be read or written.
    pub fn tick(&mut self) -> Result<View, PlaneError> {
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(self.last);
        self.last = now;
        self.is_called = false;
        self.drain();
        self.allowance = per(SAMPLES_PER_SECOND, self.allowance, elapsed);
        let tenths = self.began.elapsed().as_millis() / 100;
        let owners = self.table.holders();
        self.table.begin(u32::try_from(tenths).unwrap_or(Tick::MAX));
        let heard = self.namer.listen(now);
        self.hear(heard);

        let waits = self.eyes.scan(&mut self.table, &owners, elapsed)?;
        let (at_ns, at) = (monotonic_ns(), SystemTime::now());
        let circles = circles::find(&self.table, &waits, at_ns);
        self.ask(elapsed);
        let heard = self.namer.listen(Instant::now() + PATIENCE);
        self.hear(heard);
        self.take_back()?;

        let moment = Moment {
            at_ns,
            at,
            plan: Arc::from(self.eyes.plan()),
            loss: self.losses()?,
            deadlocks: circles.deadlocks,
        };
        let mut view = match self.eyes.locks() {
            Some(locks) => self.table.view(locks, moment),
            None => self.table.view(&NotCounted, moment),
        };
        self.goroutines.check();
        self.goroutines.show(&mut view);
        self.is_behind = self.namer.is_behind();
        let is_unsettled = circles.is_suspicious || self.is_behind;
        self.early = if is_unsettled {
            self.early.saturating_add(1)
        } else {
            0
        };
        let pause = if circles.is_suspicious && self.early <= MAX_EARLY {
            SOON
        } else if self.is_behind {
            // It is called when the answers are there; when they never come, that is to be noticed.
            self.settings.read_timeout + SOON
        } else {
            self.settings.tick
        };
        let pause = pause.min(self.settings.tick);
        self.due = now + pause;
        Ok(view)
    }

    /// Takes in samples. Returns whether the kernel side called.
    fn drain(&mut self) -> bool {
        let Self {
            eyes,
            table,
            namer,
            allowance,
            set_aside,
            ..
        } = self;
        let mut known = Vec::new();
        let called = eyes.drain(|sample: Sample| {
            let head = &sample.head;
            let key = LockKey {
                address: head.address,
                tgid: head.tgid,
                generation: head.generation,
            };
            if !table.wants_sample(head.slot, &key) {
                known.push(head.slot);
            } else if *allowance > 0 && namer.sample(sample) {
                *allowance -= 1;
            } else {
                *set_aside += 1;
            }
        });
        if let Some(locks) = eyes.locks() {
            known.into_iter().for_each(|slot| locks.stop_samples(slot));
        }
        called
    }

    fn ask(&mut self, elapsed: Duration) {
        let fresh = self.table.processes().undescribed(DESCRIBED);
        self.namer.describe(fresh);
        let holders = self.settings.holders as usize;
        let others = per(IDLE_NAMES_PER_SECOND, 0, elapsed) as usize;
        let mut questions = self.table.questions(NAMES, holders, others);
        let idle = questions.partition_point(|question| question.waiter.is_some());
        let mut idle: Vec<Question> = questions.split_off(idle);
        if let Some(locks) = self.eyes.locks() {
            for question in &mut idle {
                if let Some(stats) = locks.get(question.place) {
                    (question.op, question.value) = (stats.op, stats.value);
                }
            }
        }
        for (questions, is_urgent) in [(questions, true), (idle, false)] {
            for place in self.namer.ask(questions, is_urgent) {
                self.table.refused(place);
            }
        }
    }

    fn hear(&mut self, heard: Heard) {
        for answer in heard.words {
            let place = answer.place;
            let key = answer.key;
            match self.eyes.locks() {
                Some(locks) => {
                    self.table.told(answer, locks);
                    if !self.table.wants_sample(place, &key) {
                        locks.stop_samples(place);
                    }
                }
                None => self.table.told(answer, &NotCounted),
            }
        }
        for process in heard.processes {
            self.table.described(process);
        }
        if heard.is_new {
            self.table.forget_questions();
        }
    }

    /// Gives up what is gone or was not used for long.
    fn take_back(&mut self) -> Result<(), PlaneError> {
        let table = &mut self.table;
        table.processes().check(LIVES, is_alive);
        let Some(plane) = self.eyes.plane() else {
            for place in table.left() {
                if let Some(key) = table.words().get(place).map(|word| word.key) {
                    table.finish(place, &NotCounted);
                    self.eyes.forget(&key);
                }
            }
            return Ok(());
        };
        self.reclaim.finish(table, plane)?;
        self.reclaim.advance(table, plane)?;
        if !self.reclaim.is_free() {
            return Ok(());
        }
        let mut places = table.orphans();
        let room = plane.locks.slots();
        let is_short = table.live() >= room - room / FREE_SHARE;
        if is_short {
            places.extend(table.idle(LEAST_IDLE, room / FREE_SHARE));
        } else if self.swept.elapsed() >= self.settings.idle / 8 {
            self.swept = Instant::now();
            let tenths = self.settings.idle.as_millis() / 100;
            let idle = u32::try_from(tenths).unwrap_or(Tick::MAX);
            places.extend(table.idle(idle, usize::MAX));
        }
        places.sort_unstable();
        places.dedup();
        self.reclaim.start(&places, table, plane)
    }

    fn losses(&self) -> Result<BTreeMap<String, u64>, PlaneError> {
        let mut losses = self.eyes.losses()?;
        losses.extend(self.namer.losses());
        losses.extend(self.goroutines.losses());
        losses.insert("samples_set_aside".into(), self.set_aside);
        Ok(losses)
    }

    /// Does more or less from now on. From [`Level::Census`] on nothing is attached; coming back from there attaches anew,
    /// which takes some seconds. Either way all rows end, and what has happened since the last view is not counted.
    ///
    /// # Errors
    /// What is to be attached cannot be. Then nothing is, and another level can be tried.
    pub fn set_level(&mut self, level: Level) -> Result<(), PlaneError> {
        let before = self.level();
        self.goroutines.set_level(level);
        let result = self.eyes.set_level(level);
        if !matches!(result, Ok(false)) && self.level() != before {
            self.table = Table::default();
            self.reclaim.forget();
        }
        self.due = Instant::now();
        result.map(|_| ())
    }

    /// How much is done now: with `probe = "none"` never more than [`Level::Census`].
    #[must_use]
    pub const fn level(&self) -> Level {
        self.eyes.level()
    }

    /// What is attached and what it costs.
    #[must_use]
    pub fn costs(&self) -> Costs {
        self.eyes.costs()
    }

    /// How full the table is.
    #[must_use]
    pub fn fill(&self) -> Fill {
        Fill {
            locks: self.table.live(),
            capacity: self.eyes.locks().map(LockTable::slots),
            processes: self.table.process_count(),
        }
    }

    /// Has the kernel count how often and for how long programs run, which costs every program on the machine some 20 ns a
    /// run (Linux 5.8).
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn count_runs(&mut self, count: bool) -> io::Result<()> {
        self.eyes.count_runs(count)
    }

    /// Time between two ticks.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.settings.tick
    }
}

/// What is left of an allowance of so much per second, after this time.
fn per(second: u32, left: u32, elapsed: Duration) -> u32 {
    let more = (f64::from(second) * elapsed.as_secs_f64()).ceil();
    let more = if more < f64::from(second) {
        more as u32
    } else {
        second
    };
    left.saturating_add(more).min(second)
}

/// Whether a process has not ended. Without a look into `/proc`: this is asked often.
fn is_alive(pid: u32) -> bool {
    let Ok(pid) = i32::try_from(pid) else {
        return false;
    };
    // SAFETY: no pointers; signal 0 is sent to nobody.
    let result = unsafe { libc::kill(pid, 0) };
    result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}
