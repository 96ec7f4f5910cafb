//! What is attached: hooks, the task iterator alone, or nothing; and switching over while the agent runs.
//!
//! Levels that leave something out do not load the programs anew, which would take seconds and lose all counts. What
//! samples leave out is an element of the `CONTROL` array, which the programs look at only when a sample is due; which
//! locks are counted without detail is a flag in the cache line that the end of a wait writes anyway.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    os::fd::{AsFd as _, BorrowedFd},
    time::{Duration, Instant},
};

use holdup_abi::{
    config::{Config, LEAVE_OUT_SAMPLES, LEAVE_OUT_STACKS},
    lock::{LockKey, WITHOUT_DETAIL},
};

use super::{
    cost::{Costs, Counting},
    namer::Sample,
    scan::{Census, Slots, Waits},
    settings::{Probe, Settings},
    table::Table,
};
use crate::{
    ingest::{
        decode::{self, Record},
        locks::LockTable,
        plane::{Plane, PlaneError},
    },
    model::{health::Level, plan::PlanEntry},
    probe::{config, feature::Features, plan::Wanted},
};

/// Ring buffer records taken in one go: the rest comes at the next one.
const MAX_RECORDS: usize = 16_384;
/// Least time between two calls for one lock: its waiters may go up and down around the threshold.
const REST: Duration = Duration::from_secs(1);
/// Locks counted without detail: with more, it is not a few hot ones that cost.
const MAX_PLAIN: usize = 1024;

/// The kernel side as it is now.
pub(super) struct Eyes {
    settings: Settings,
    features: Features,
    plane: Option<Plane>,
    level: Level,
    counting: Counting,
    slots: Slots,
    census: Census,
    /// Locks that the kernel side has called for, and when.
    called: Vec<(u32, Instant)>,
    /// Locks that are counted without detail.
    plain: Vec<u32>,
    /// What planes that are gone had lost.
    lost_before: BTreeMap<String, u64>,
    undecodable: u64,
}

impl Eyes {
    /// Opens as much as the settings allow.
    pub(super) fn open(
        settings: &Settings,
        features: &Features,
        level: Level,
    ) -> Result<Self, PlaneError> {
        let mut eyes = Self {
            settings: settings.clone(),
            features: features.clone(),
            plane: None,
            level: Level::Off,
            counting: Counting::default(),
            slots: Slots::default(),
            census: Census::default(),
            called: Vec::new(),
            plain: Vec::new(),
            lost_before: BTreeMap::new(),
            undecodable: 0,
        };
        eyes.set_level(level)?;
        Ok(eyes)
    }

    pub(super) const fn level(&self) -> Level {
        self.level
    }

    /// Switches over. Returns whether what was counted so far is gone.
    pub(super) fn set_level(&mut self, level: Level) -> Result<bool, PlaneError> {
        let level = match self.settings.probe {
            Probe::Default => level,
            Probe::None => level.max(Level::Census),
        };
        if level == self.level {
            return Ok(false);
        }
        let is_anew = !is_attached(level) || !is_attached(self.level);
        if is_anew {
            // The old programs go first: waits are counted by one set of them.
            self.close();
            self.plane = self.plane_for(level)?;
        }
        if let (true, Some(plane)) = (is_attached(level), &mut self.plane) {
            plane.leave_out(left_out(level))?;
            if level < Level::NoDetail {
                self.plain
                    .drain(..)
                    .for_each(|slot| plane.locks.set_flags(slot, 0));
            }
        }
        self.level = level;
        Ok(is_anew)
    }

    fn close(&mut self) {
        for (name, count) in self.losses().unwrap_or_default() {
            self.lost_before.insert(name, count);
        }
        self.plane = None;
        self.level = Level::Off;
        self.slots = Slots::default();
        self.census = Census::default();
        self.called.clear();
        self.plain.clear();
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

    /// Takes in what the ring buffer holds; `take` gets the samples of waits. Returns whether the kernel side called.
    pub(super) fn drain(&mut self, mut take: impl FnMut(Sample)) -> bool {
        let Some(plane) = self.plane.as_mut() else {
            return false;
        };
        let before = self.called.len();
        let now = Instant::now();
        for _ in 0..MAX_RECORDS {
            let Some(bytes) = plane.ring.next() else {
                break;
            };
            match decode::record(&bytes) {
                Ok(Record::Sample(head, _)) => take(Sample {
                    head,
                    bytes: bytes.to_vec(),
                }),
                Ok(Record::Crossing(crossing)) => self.called.push((crossing.slot, now)),
                // Their beginning is all that matters here.
                Ok(Record::End(_) | Record::Hold(..)) => {}
                Err(_) => self.undecodable += 1,
            }
        }
        self.called.len() > before
    }

    /// Reads what there is into the table; `owners` are threads whose own waits are wanted.
    pub(super) fn scan(
        &mut self,
        table: &mut Table,
        owners: &HashSet<u32>,
        elapsed: Duration,
    ) -> Result<Waits, PlaneError> {
        let Some(plane) = self.plane.as_mut() else {
            return Ok(Waits::new());
        };
        if !is_attached(self.level) {
            return self.census.scan(plane, table, owners);
        }
        let hot = f64::from(self.settings.hot_per_second) * elapsed.as_secs_f64();
        let mut are_hot = Vec::new();
        let watched = self.level == Level::NoDetail;
        let waits = self.slots.scan(plane, table, owners, |slot, waits| {
            if watched && waits as f64 > hot {
                are_hot.push(slot);
            }
        })?;
        for slot in are_hot {
            if !self.plain.contains(&slot) && self.plain.len() < MAX_PLAIN {
                plane.locks.set_flags(slot, WITHOUT_DETAIL);
                self.plain.push(slot);
            }
        }
        // Below the threshold again, the next crossing is news.
        let threshold = u64::from(self.settings.waiters_threshold);
        self.called.retain(|&(slot, at)| {
            let waiters = plane.locks.head(slot).map_or(0, |head| head.waiters);
            let is_over = waiters < threshold && at.elapsed() >= REST;
            if is_over {
                plane.locks.answer_call(slot);
            }
            !is_over
        });
        Ok(waits)
    }

    /// Statistics of words, where any are kept.
    pub(super) fn locks(&self) -> Option<&LockTable> {
        let plane = self.plane.as_ref().filter(|_| is_attached(self.level))?;
        Some(&plane.locks)
    }

    /// The plane with its slots, where there are any.
    pub(super) fn plane(&mut self) -> Option<&mut Plane> {
        self.plane.as_mut().filter(|_| is_attached(self.level))
    }

    /// Without hooks, a word that nobody waits for any more is forgotten.
    pub(super) fn forget(&mut self, key: &LockKey) {
        self.census.forget(key);
    }

    pub(super) fn plan(&self) -> &[PlanEntry] {
        self.plane.as_ref().map_or(&[], Plane::plan)
    }

    /// What was lost since the watch began, by name.
    pub(super) fn losses(&self) -> Result<BTreeMap<String, u64>, PlaneError> {
        let mut losses = self.lost_before.clone();
        if let Some(plane) = &self.plane {
            for (name, count) in plane.losses()? {
                *losses.entry(name).or_default() += count;
            }
        }
        losses.insert("records_undecodable".into(), self.undecodable);
        Ok(losses)
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
