//! What is attached: hooks, the task iterator alone, or nothing; and switching over while the agent runs.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use holdup_abi::config::{Config, LEAVE_OUT_SAMPLES, LEAVE_OUT_STACKS};

use super::{
    cost::{Costs, Counting},
    settings::{Probe, Settings},
};
use crate::{
    ingest::{
        decode::{self, Record},
        plane::{Plane, PlaneError},
    },
    model::{health::Level, plan::PlanEntry},
    probe::{config, feature::Features, plan::Wanted},
};

/// The kernel side as it is now.
pub(super) struct Eyes {
    settings: Settings,
    features: Features,
    plane: Option<Plane>,
    level: Level,
    counting: Counting,
}

impl Eyes {
    /// Opens as much as the settings allow.
    pub(super) fn open(settings: &Settings, features: &Features) -> Result<Self, PlaneError> {
        let mut eyes = Self {
            settings: settings.clone(),
            features: features.clone(),
            plane: None,
            level: Level::Off,
            counting: Counting::default(),
        };
        eyes.set_level(Level::Full)?;
        Ok(eyes)
    }

    pub(super) const fn level(&self) -> Level {
        self.level
    }

    pub(super) fn set_level(&mut self, level: Level) -> Result<(), PlaneError> {
        let level = match self.settings.probe {
            Probe::Default => level,
            Probe::None => level.max(Level::Census),
        };
        if is_attached(level) != is_attached(self.level) || level >= Level::Census {
            if level == self.level {
                return Ok(());
            }
            // The old programs go first: waits are counted by one set of them.
            self.plane = None;
            self.level = Level::Off;
            self.plane = self.plane_for(level)?;
        }
        if is_attached(level)
            && let Some(plane) = &mut self.plane
        {
            plane.leave_out(left_out(level))?;
        }
        self.level = level;
        Ok(())
    }

    fn plane_for(&self, level: Level) -> Result<Option<Plane>, PlaneError> {
        let features = &self.features;
        Ok(match level {
            Level::Off => None,
            Level::Census => Some(Plane::census_only(
                &config::base(features, None),
                features,
                &[],
            )?),
            Level::Full | Level::NoStacks | Level::NoSamples | Level::NoDetail => {
                let config = Config {
                    waiters_threshold: self.settings.waiters_threshold,
                    ..config::base(features, Some(self.settings.sample_interval))
                };
                let capacity = self.settings.capacity();
                let wanted = Wanted::default();
                Some(Plane::attach(&config, capacity, features, wanted, &[])?)
            }
        })
    }

    /// Readable when the kernel side has something to say.
    pub(super) fn ring(&self) -> Option<BorrowedFd<'_>> {
        let plane = self.plane.as_ref().filter(|_| is_attached(self.level))?;
        Some(plane.ring.as_fd())
    }

    /// Takes in what the ring buffer holds. Returns whether the kernel side called.
    pub(super) fn drain(&mut self) -> bool {
        let mut called = false;
        while let Some(record) = self.plane.as_mut().and_then(|plane| plane.ring.next()) {
            called |= matches!(decode::record(&record), Ok(Record::Crossing(_)));
        }
        called
    }

    pub(super) fn plan(&self) -> &[PlanEntry] {
        self.plane.as_ref().map_or(&[], Plane::plan)
    }

    pub(super) fn losses(&self) -> Result<BTreeMap<String, u64>, PlaneError> {
        self.plane
            .as_ref()
            .map_or_else(|| Ok(BTreeMap::new()), Plane::losses)
    }

    pub(super) fn costs(&self) -> Costs {
        let Some(plane) = &self.plane else {
            return Costs::default();
        };
        let maps = plane.maps();
        Costs {
            map_bytes: maps.iter().map(|map| map.memory_bytes).sum(),
            maps,
            programs: self.counting.programs(plane.object()),
        }
    }

    pub(super) fn count_runs(&mut self, count: bool) -> io::Result<()> {
        self.counting.set(count)
    }
}

/// Whether hooks are attached.
const fn is_attached(level: Level) -> bool {
    !matches!(level, Level::Census | Level::Off)
}

/// What samples leave out, as the kernel side is told.
const fn left_out(level: Level) -> u64 {
    match level {
        Level::Full => 0,
        Level::NoStacks => LEAVE_OUT_STACKS,
        Level::NoSamples | Level::NoDetail | Level::Census | Level::Off => LEAVE_OUT_SAMPLES,
    }
}
