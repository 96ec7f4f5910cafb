//! Looks at the node once a tick, and early when the kernel side calls.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    daemon::{
        governor::{
            self,
            bpf::{Programs, Sampler},
        },
        hub::Hub,
        supervise::{Body, Lease, Stop},
    },
    ingest::plane::PlaneError,
    model::health::{Level, Program},
    probe::feature::Features,
    watch::{Settings, Watch, Why},
};

/// How often it is looked whether the kill switch is still there.
const OFF_TICK: Duration = Duration::from_millis(500);

/// The loop.
#[expect(missing_debug_implementations, reason = "maps are not worth printing")]
pub struct Look {
    hub: Arc<Hub>,
    watch: Watch,
    sampler: Sampler,
    governor: governor::settings::Settings,
    why: io::Result<Why>,
}

impl Look {
    /// Attaches as much as the governor allows.
    ///
    /// # Errors
    /// Privileges, or a kernel without what is required.
    pub fn new(
        hub: &Arc<Hub>,
        settings: &Settings,
        governor: &governor::settings::Settings,
        features: &Features,
    ) -> Result<Self, PlaneError> {
        let watch = Watch::start_at(hub.board.level(), settings, features)?;
        hub.set_waker(watch.waker());
        let mut look = Self {
            hub: Arc::clone(hub),
            watch,
            sampler: Sampler::new(Instant::now()),
            governor: governor.clone(),
            why: Ok(Why::Due),
        };
        look.tell();
        Ok(look)
    }

    /// Tells what is attached and what it costs.
    fn tell(&mut self) {
        let costs = self.watch.costs();
        self.hub.board.attached(&costs.programs, costs.map_bytes);
    }
}

impl Programs for Watch {
    fn measure(&mut self, on: bool) -> io::Result<()> {
        self.count_runs(on)
    }

    fn counters(&self) -> Vec<Program> {
        match self.level() {
            Level::Census | Level::Off => Vec::new(),
            _ => self.costs().programs,
        }
    }
}

impl Body for Look {
    fn wait(&mut self, stop: &Stop) {
        if self.watch.level() == Level::Off {
            stop.wait(OFF_TICK);
        } else {
            // Whoever requests the stop wakes us.
            self.why = self.watch.wait();
        }
    }

    fn turn(&mut self, lease: &Lease) -> anyhow::Result<()> {
        let why = std::mem::replace(&mut self.why, Ok(Why::Woken))?;
        let level = self.hub.board.level();
        if level != self.watch.level() {
            self.watch.set_level(level)?;
            self.tell();
        }
        let Self {
            hub,
            watch,
            sampler,
            governor,
            ..
        } = self;
        if hub.board.measure(sampler, governor, watch) {
            self.tell();
        }
        if level == Level::Off {
            // Nothing is known from now on, which is not the same as that all is well.
            self.hub.view.send_replace(None);
        } else if why != Why::Woken {
            let view = self.watch.tick()?;
            if lease.is_valid() {
                self.hub.view.send_replace(Some(Arc::new(view)));
            }
        }
        Ok(())
    }
}
