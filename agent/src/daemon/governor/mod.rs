//! The overhead governor: what the agent costs, and doing less when that is too much.

pub mod bpf;
pub mod own;
pub mod settings;
pub mod shed;

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use self::{
    bpf::{Estimate, Programs, Sampler},
    own::Meter,
    settings::Settings,
    shed::{Measured, Shedder},
};
use super::{
    hub::Hub,
    supervise::{Body, Lease, Stop, lock},
};
use crate::model::health::{Cost, Level, Program};

/// Longest time between two looks at the kill switch.
const TICK: Duration = Duration::from_secs(1);
/// How often memory that is free is given back, which takes a millisecond or two.
const GIVE_BACK: Duration = Duration::from_secs(60);

/// What the governor and those that it governs tell each other.
#[derive(Debug, Default)]
pub struct Board(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    cost: Cost,
    /// What the governor has chosen; the kill switch may override it.
    chosen: Level,
    /// Why it is not everything.
    why: Option<String>,
    estimate: Estimate,
    programs: Vec<Program>,
}

impl Board {
    /// Begins with this level.
    #[must_use]
    pub fn new(level: Level) -> Self {
        Self(Mutex::new(State {
            cost: Cost {
                level,
                ..Cost::default()
            },
            chosen: level,
            ..State::default()
        }))
    }

    /// What is to be done.
    #[must_use]
    pub fn level(&self) -> Level {
        lock(&self.0).cost.level
    }

    /// Looks whether the kill switch is set: then nothing is done, whatever was chosen.
    pub fn heed(&self, switch: &Path) {
        // An error other than that it is missing says nothing about it.
        let is_set = !switch.as_os_str().is_empty() && switch.exists();
        let mut state = lock(&self.0);
        let (level, why) = if is_set {
            let why = format!("the kill switch {} is there", switch.display());
            (Level::Off, Some(why))
        } else {
            (state.chosen, state.why.clone())
        };
        if is_set != (state.cost.level == Level::Off) {
            tracing::warn!(does = ?level, why, "the kill switch");
        }
        (state.cost.level, state.cost.why) = (level, why);
    }

    /// Costs and level.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let state = lock(&self.0);
        Cost {
            resident_bytes: own::resident_bytes(),
            ..state.cost.clone()
        }
    }

    /// Attached programs, with estimates of what they have cost since the agent started.
    #[must_use]
    pub fn programs(&self) -> Vec<Program> {
        lock(&self.0).programs.clone()
    }

    /// Tells what is attached now, and what its maps take.
    pub fn attached(&self, programs: &[Program], map_bytes: u64) {
        let mut state = lock(&self.0);
        state.programs = state.estimate.of(programs);
        state.cost.map_bytes = map_bytes;
    }

    /// [`Sampler::step`] with the estimate that is kept here, where it survives those who measure.
    pub fn measure(
        &self,
        sampler: &mut Sampler,
        settings: &Settings,
        programs: &mut dyn Programs,
    ) -> bool {
        let estimate = &mut lock(&self.0).estimate;
        sampler.step(Instant::now(), settings, programs, estimate)
    }
}

/// The loop.
#[expect(missing_debug_implementations, reason = "it holds the hub")]
pub struct Governor {
    settings: Settings,
    hub: Arc<Hub>,
    shedder: Shedder,
    meter: Meter,
    next: Instant,
    gave_back: Instant,
}

impl Governor {
    /// Governs what heeds the board of `hub`, which never does more than `most`.
    #[must_use]
    pub fn new(settings: Settings, most: Level, hub: Arc<Hub>) -> Self {
        let level = lock(&hub.board.0).chosen;
        Self {
            next: Instant::now() + settings.every,
            gave_back: Instant::now(),
            settings,
            hub,
            shedder: Shedder::new(most, level),
            meter: Meter::default(),
        }
    }

    fn compare(&mut self, now: Instant) {
        self.next = now + self.settings.every;
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^52")]
        let of_all = |share: f64| share / processors as f64;
        let mut state = lock(&self.hub.board.0);
        let bpf_share = state.estimate.share();
        let measured = Measured {
            cpu_share: self.meter.share(),
            bpf_share: bpf_share.map(of_all),
            resident_bytes: own::resident_bytes(),
        };
        if self.shedder.step(&measured, &self.settings) {
            let (level, why) = (self.shedder.level(), self.shedder.why());
            tracing::warn!(does = ?level, why, "the governor changes what is done");
        }
        state.cost.cpu_share = measured.cpu_share;
        state.cost.bpf_share = bpf_share;
    }

    fn publish(&self) {
        let board = &self.hub.board;
        let before = board.level();
        {
            let mut state = lock(&board.0);
            state.chosen = self.shedder.level();
            state.why = self.shedder.why().map(str::to_owned);
        }
        board.heed(&self.settings.kill_switch);
        if board.level() != before {
            self.hub.wake_watch();
        }
    }
}

impl Body for Governor {
    fn wait(&mut self, stop: &Stop) {
        stop.wait(TICK.min(self.settings.every));
    }

    fn turn(&mut self, _: &Lease) -> anyhow::Result<()> {
        let now = Instant::now();
        if now >= self.next {
            self.compare(now);
        }
        if now >= self.gave_back + GIVE_BACK {
            self.gave_back = now;
            own::give_back();
        }
        self.publish();
        Ok(())
    }
}
