//! The agent's eyes: once a tick, everything that waits on the node as one [`crate::model::watch::View`].
//!
//! ```text
//! kernel tables -> scan (what changed) -> table (rows) -> View
//!                        |                 ^
//!                        +-> namer --------+   what a word is, who holds it: reads processes, may get stuck, never waited for
//! ```
//!
//! - [`settings`]: how often, how much
//! - `eyes`: what is attached, and switching it over
//! - `bell`: sleeping until the next tick, or until the kernel calls
//! - `cost`: what all of it costs in the kernel
//!
//! Not here: judging whether anything is wrong (`detect`), and evidence for it (`evidence`).

mod bell;
pub mod cost;
mod eyes;
pub mod settings;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

pub use self::{
    bell::{Waker, Why},
    settings::Settings,
};
use self::{cost::Costs, eyes::Eyes};
use crate::{
    ingest::{clock::monotonic_ns, plane::PlaneError},
    model::{health::Level, watch::View},
    probe::feature::Features,
};

/// Watches the node. It belongs to one thread; [`Waker`]s may go to others.
#[expect(missing_debug_implementations, reason = "maps are not worth printing")]
pub struct Watch {
    settings: Settings,
    eyes: Eyes,
    waker: Waker,
    due: Instant,
}

impl Watch {
    /// Attaches what the settings say, and takes over the threads that are parked already.
    ///
    /// # Errors
    /// Privileges, or a kernel without what is required.
    pub fn start(settings: &Settings, features: &Features) -> Result<Self, PlaneError> {
        let waker = Waker::new().map_err(|source| PlaneError::Map {
            name: "eventfd",
            source,
        })?;
        Ok(Self {
            eyes: Eyes::open(settings, features)?,
            settings: settings.clone(),
            waker,
            due: Instant::now(),
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
        loop {
            let left = self.due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Why::Due);
            }
            let rung = bell::wait(&self.waker, self.eyes.ring(), left)?;
            if rung.waker {
                return Ok(Why::Woken);
            }
            if rung.ring && self.eyes.drain() {
                return Ok(Why::Crossed);
            }
        }
    }

    /// Looks at the node. Never waits for a process that is looked at.
    ///
    /// # Errors
    /// A table of the kernel side cannot be read.
    pub fn tick(&mut self) -> Result<View, PlaneError> {
        let now = Instant::now();
        self.due = (self.due + self.settings.tick).max(now + self.settings.tick / 2);
        self.eyes.drain();
        Ok(View {
            at_ns: monotonic_ns(),
            at: SystemTime::now(),
            processes: Default::default(),
            locks: Vec::new(),
            deadlocks: Vec::new(),
            plan: Arc::from(self.eyes.plan()),
            loss: self.eyes.losses()?,
        })
    }

    /// Does more or less from now on. From [`Level::Census`] on nothing is attached; coming back from there attaches anew,
    /// which takes some seconds, and all counts start at 0.
    ///
    /// # Errors
    /// What is to be attached cannot be. Then nothing is, and another level can be tried.
    pub fn set_level(&mut self, level: Level) -> Result<(), PlaneError> {
        self.eyes.set_level(level)
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
