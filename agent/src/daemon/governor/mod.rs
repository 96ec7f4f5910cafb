//! The overhead governor: what the agent costs, and doing less when that is too much.

pub mod bpf;
pub mod own;
pub mod settings;
pub mod shed;

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use self::{
    bpf::{Attached, Estimate},
    own::Meter,
    settings::Settings,
    shed::{Measured, Shedder},
};
use super::supervise::{Body, Lease, Stop, lock};
use crate::model::health::{Cost, Level, Program};

/// Longest time between two looks at the kill switch.
const TICK: Duration = Duration::from_secs(1);

/// What the governor and the loops that it governs share.
#[derive(Debug, Default)]
pub struct Board {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cost: Cost,
    /// What the governor has chosen; the kill switch may override it.
    chosen: Level,
    attached: Vec<Attached>,
    estimated: Vec<Program>,
}

impl Board {
    /// Begins with this level.
    #[must_use]
    pub fn new(level: Level) -> Self {
        let state = State {
            cost: Cost {
                level,
                ..Cost::default()
            },
            chosen: level,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// What is to be done.
    #[must_use]
    pub fn level(&self) -> Level {
        lock(&self.state).cost.level
    }

    /// Costs and level.
    #[must_use]
    pub fn cost(&self) -> Cost {
        lock(&self.state).cost.clone()
    }

    /// Attached programs, with estimates of what they have cost since the agent started.
    #[must_use]
    pub fn programs(&self) -> Vec<Program> {
        lock(&self.state).estimated.clone()
    }

    /// Tells what is attached now, and what its maps take.
    pub fn attach(&self, programs: Vec<Attached>, map_bytes: u64) {
        let mut state = lock(&self.state);
        state.attached = programs;
        state.cost.map_bytes = map_bytes;
    }

    /// Counters of the attached programs, as the kernel has them.
    fn counters(&self) -> Vec<Program> {
        lock(&self.state).attached.iter().map(Attached::counters).collect()
    }
}

/// The loop.
#[expect(missing_debug_implementations, reason = "it is a state machine of no interest")]
pub struct Governor {
    settings: Settings,
    board: Arc<Board>,
    shedder: Shedder,
    meter: Meter,
    estimate: Estimate,
    window: Window,
    next: Instant,
}

enum Window {
    /// The kernel does not measure until then.
    Closed { until: Instant },
    /// It does.
    Open {
        began: Instant,
        before: Vec<Program>,
        _measuring: OwnedFd,
    },
}

impl Governor {
    /// Governs what reads `board`, which never does more than `most`.
    #[must_use]
    pub fn new(
        settings: Settings,
        most: Level,
        board: Arc<Board>,
        ) -> Self {
        let level = lock(&board.state).chosen;
        Self {
            next: Instant::now() + settings.every,
            settings,
            board,
            shedder: Shedder::new(most, level),
            meter: Meter::default(),
            estimate: Estimate::default(),
            window: Window::Closed {
                until: Instant::now(),
            },
        }
    }

    /// Opens and closes the windows in which the kernel measures.
    fn measure(&mut self, now: Instant) {
        match &self.window {
            Window::Closed { until } if now >= *until => {
                let before = self.board.counters();
                if before.is_empty() {
                    self.estimate.forget_share();
                }
                self.window = match bpf::measure().filter(|_| !before.is_empty()) {
                    Some(measuring) => Window::Open {
                        began: Instant::now(),
                        before,
                        _measuring: measuring,
                    },
                    None => Window::Closed {
                        until: now + self.settings.bpf_for,
                    },
                };
            }
            Window::Open { began, before, .. } if now >= *began + self.settings.bpf_for => {
                let (after, end) = (self.board.counters(), Instant::now());
                if !after.is_empty() {
                    self.estimate.window(before, &after, end, end - *began);
                }
                self.window = Window::Closed {
                    until: now + (self.settings.bpf_every - self.settings.bpf_for),
                };
            }
            _ => {}
        }
    }

    fn compare(&mut self, now: Instant) {
        self.next = now + self.settings.every;
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^52")]
        let of_all = |share: f64| share / processors as f64;
        let measured = Measured {
            cpu_share: self.meter.share(),
            bpf_share: self.estimate.share().map(of_all),
            resident_bytes: own::resident_bytes(),
        };
        if self.shedder.step(&measured, &self.settings) {
            let (level, why) = (self.shedder.level(), self.shedder.why());
            tracing::warn!(?level, why, "the governor changes what is done");
        }
        let mut state = lock(&self.board.state);
        state.cost.cpu_share = measured.cpu_share;
        state.cost.resident_bytes = measured.resident_bytes;
        state.cost.bpf_share = self.estimate.share();
    }

    fn publish(&self) {
        let switch = &self.settings.kill_switch;
        // An error other than that it is missing says nothing about it.
        let is_killed = !switch.as_os_str().is_empty() && switch.exists();
        let programs = self.board.counters();
        let mut state = lock(&self.board.state);
        state.chosen = self.shedder.level();
        (state.cost.level, state.cost.why) = if is_killed {
            let why = format!("the kill switch {} is there", switch.display());
            (Level::Off, Some(why))
        } else {
            (state.chosen, self.shedder.why().map(str::to_owned))
        };
        state.estimated = self.estimate.of(&programs);
    }
}

impl Body for Governor {
    fn wait(&mut self, stop: &Stop) {
        let Settings { every, bpf_for, .. } = self.settings;
        stop.wait(TICK.min(every).min(bpf_for));
    }

    fn turn(&mut self, _: &Lease) -> anyhow::Result<()> {
        let now = Instant::now();
        self.measure(now);
        if now >= self.next {
            self.compare(now);
        }
        self.publish();
        Ok(())
    }
}
