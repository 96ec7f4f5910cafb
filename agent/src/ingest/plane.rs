//! The data plane as the rest of the agent sees it: maps opened once, with a method for each thing that is read.

mod slots;
mod uprobes;

use std::{
    collections::{BTreeMap, HashSet},
    io,
    time::{Duration, Instant},
};

use aya::{
    Btf, Ebpf,
    maps::{Array, HashMap, Map, MapData, MapError, MapFd, PerCpuArray, Queue, RingBuf},
};
use holdup_abi::{
    census::Task,
    config::{
        CLOCK_UNKNOWN, CONTROL_ADOPT, CONTROL_CLOCK, CONTROL_EVERYBODY, CONTROL_LEAVE_OUT, Config,
        NO_OFFSET,
    },
    hold::{BesideKey, Holds, Tally},
    thread::{IDLE, Thread},
};

use super::{
    batch, census, clock::Sleeper, counters, locks::LockTable, mapped::Mapped, threads::ThreadTable,
};
use crate::{
    model::plan::PlanEntry,
    probe::{
        attach::{self, AttachError, Attached},
        feature::Features,
        object::{self, Capacity},
        plan::Wanted,
        table,
        uprobe::Uprobes,
    },
};

/// How many sleepers of our own tell how the clocks relate: one alone may be kept from its sleep for long, by a busy
/// machine, just after it has noted the time.
const CLOCK_SLEEPERS: usize = 4;
/// How long our own sleepers may take to fall asleep.
const CLOCK_PATIENCE: Duration = Duration::from_millis(500);

/// Why the data plane is not there.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    /// Loading or attaching failed.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A map is missing or cannot be used.
    #[error("cannot use map {name}")]
    Map {
        /// Name of the map.
        name: &'static str,
        /// What happened.
        #[source]
        source: io::Error,
    },
}

/// Loaded programs with their maps.
#[expect(missing_debug_implementations, reason = "aya's ring buffer has none")]
pub struct Plane {
    attached: Attached,
    uprobes: Option<Uprobes>,
    /// Statistics of every lock.
    pub locks: LockTable,
    /// How long locks were held, by their slots.
    pub holds: Mapped<Holds>,
    threads: ThreadTable,
    /// Samples.
    pub ring: RingBuf<MapData>,
    clock_offset_ns: u64,
    tells_run_delay: bool,
    goroutines_since_ns: Option<u64>,
}

impl Plane {
    /// Loads and attaches everything, and adopts threads that are parked already.
    ///
    /// `targets` are the processes for the set of targets (modes `TARGET_SET` and, for adoption, `TARGET_CGROUP`).
    ///
    /// # Errors
    /// Privileges, or a kernel without what is required.
    pub fn attach(
        config: &Config,
        capacity: Capacity,
        features: &Features,
        wanted: Wanted,
        targets: &[u32],
    ) -> Result<Self, PlaneError> {
        let btf = Btf::from_sys_fs().ok();
        let mut ebpf = attach::load(config, capacity, btf.as_ref())?;
        fill_slots(&mut ebpf, "FREE_SLOTS", capacity.locks)?;
        if capacity.entry {
            fill_slots(&mut ebpf, "ENTRY_FREE", object::entry_locks(capacity))?;
        }
        set_targets(&mut ebpf, targets).map_err(map_error("TARGETS"))?;
        let uprobes = wanted.uprobes.then(|| Uprobes::new(&ebpf));
        let attached = attach::attach(ebpf, btf.as_ref(), features, wanted)?;
        let mut plane = Self::open(attached, config, capacity)?;
        plane.uprobes = uprobes;
        if plane.attached.has_census() {
            plane.set_clock()?;
            plane
                .control(CONTROL_ADOPT, 1)
                .map_err(map_error("CONTROL"))?;
            plane.census().map_err(census_error)?;
            plane
                .control(CONTROL_ADOPT, 0)
                .map_err(map_error("CONTROL"))?;
        }
        Ok(plane)
    }

    /// Loads the task iterator and attaches nothing.
    ///
    /// # Errors
    /// Privileges.
    pub fn census_only(
        config: &Config,
        features: &Features,
        targets: &[u32],
    ) -> Result<Self, PlaneError> {
        let btf = Btf::from_sys_fs().ok();
        let capacity = Capacity {
            locks: 64,
            threads: 64,
            ring_bytes: 4096,
            entry: false,
        };
        let mut ebpf = attach::load(config, capacity, btf.as_ref())?;
        set_targets(&mut ebpf, targets).map_err(map_error("TARGETS"))?;
        let attached = attach::census_only(ebpf, btf.as_ref(), features);
        let mut plane = Self::open(attached, config, capacity)?;
        if plane.attached.has_census() {
            plane.set_clock()?;
        }
        Ok(plane)
    }

    fn open(
        mut attached: Attached,
        config: &Config,
        capacity: Capacity,
    ) -> Result<Self, PlaneError> {
        let places = object::places(capacity.threads) as usize;
        let locks = mapped(&attached.ebpf, "LOCKS", |fd| {
            LockTable::map(fd, capacity.locks as usize)
        })?;
        let holds = mapped(&attached.ebpf, "HOLDS", |fd| {
            Mapped::new(fd, object::holds(config, capacity) as usize)
        })?;
        let threads = mapped(&attached.ebpf, "THREADS", |fd| ThreadTable::map(fd, places))?;
        let ring = attached
            .ebpf
            .take_map("SAMPLES")
            .ok_or(MapError::InvalidMapType { map_type: 0 });
        let ring = ring
            .and_then(RingBuf::try_from)
            .map_err(map_error("SAMPLES"))?;
        Ok(Self {
            attached,
            uprobes: None,
            locks,
            holds,
            threads,
            ring,
            clock_offset_ns: CLOCK_UNKNOWN,
            tells_run_delay: config.task.run_delay != NO_OFFSET,
            goroutines_since_ns: None,
        })
    }

    /// Every row of the probe table with its fate.
    #[must_use]
    pub fn plan(&self) -> &[PlanEntry] {
        &self.attached.plan
    }

    /// Adds a row to it.
    pub fn add_to_plan(&mut self, entry: PlanEntry) {
        self.attached.plan.push(entry);
    }

    /// Attaches further raw tracepoints.
    ///
    /// # Errors
    /// A required one is refused.
    pub fn add(&mut self, rows: &'static [table::Raw]) -> Result<(), AttachError> {
        self.attached.add(rows)
    }

    /// Processes in the set of targets, as it is now.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn targets(&self) -> Result<Vec<u32>, PlaneError> {
        let set = self.map::<HashMap<&MapData, u32, u32>>("TARGETS")?;
        Ok(set.keys().filter_map(Result::ok).collect())
    }

    /// Whether [`Self::census`] works.
    #[must_use]
    pub fn has_census(&self) -> bool {
        self.attached.has_census()
    }

    /// Every map with its capacity and what it costs.
    #[must_use]
    pub fn maps(&self) -> Vec<super::cost::MapCost> {
        super::cost::of(&self.attached.ebpf, &self.ring)
    }

    /// All watched threads now, and our own.
    ///
    /// # Errors
    /// The iterator is not loaded or fails.
    pub fn census(&mut self) -> io::Result<Vec<Task>> {
        census::read(self.attached.open_census()?)
    }

    /// Since when the sleeping threads of all processes have slept, watched or not, on the monotonic clock, by thread id.
    /// Empty when the kernel does not tell.
    pub fn asleep(&mut self) -> std::collections::HashMap<u32, u64> {
        let tasks = match self.control(CONTROL_EVERYBODY, 1) {
            Ok(()) => self.census().unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        // Nothing else fails where the first call did not.
        let _ = self.control(CONTROL_EVERYBODY, 0);
        let asleep = tasks.iter().filter(|task| task.state != 0);
        asleep
            .filter_map(|task| Some((task.tid, self.asleep_since_ns(task)?)))
            .collect()
    }

    /// Threads in a wait, as the kernel side has them on record.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn parked(&self) -> Result<Vec<(u32, Thread)>, PlaneError> {
        let more = self.map::<HashMap<&MapData, u32, Thread>>("MORE_THREADS")?;
        Ok(self.threads.parked(&more))
    }

    /// Calls `each` with every thread in a wait, as [`Self::parked`].
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn each_parked(&self, mut each: impl FnMut(&Thread)) -> Result<(), PlaneError> {
        self.threads.waiting().for_each(|thread| each(&thread));
        let Some(Map::HashMap(more)) = self.attached.ebpf.map("MORE_THREADS") else {
            return Err(map_error("MORE_THREADS")(MapError::InvalidMapType {
                map_type: 0,
            }));
        };
        let waiting = |_: &u32, thread: &Thread| {
            if thread.state != IDLE {
                each(thread);
            }
        };
        batch::pairs(more.fd(), waiting).map_err(|source| PlaneError::Map {
            name: "MORE_THREADS",
            source,
        })
    }

    /// These threads, waiting or not, as far as the kernel side has them on record.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn threads(&self, tids: &HashSet<u32>) -> Result<BTreeMap<u32, Thread>, PlaneError> {
        let more = self.map::<HashMap<&MapData, u32, Thread>>("MORE_THREADS")?;
        Ok(self.threads.these(&more, tids))
    }

    /// Loss counters by name, the kernel's own included.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn losses(&self) -> Result<BTreeMap<String, u64>, PlaneError> {
        let map = self.map::<PerCpuArray<&MapData, u64>>("COUNTERS")?;
        let mut losses = counters::read(&map).map_err(map_error("COUNTERS"))?;
        losses.insert("recursion_missed".into(), self.attached.recursion_misses());
        Ok(losses)
    }

    /// Takes processes that are gone out of the set of targets, lest another one gets the id. For targets that the
    /// kernel side adds to the set itself.
    ///
    /// # Errors
    /// The map cannot be used.
    pub fn prune_targets(&mut self, lives: impl Fn(u32) -> bool) -> Result<(), PlaneError> {
        let gone = |error: &MapError| matches!(error, MapError::KeyNotFound);
        let mut set = self.map_mut::<HashMap<&mut MapData, u32, u32>>("TARGETS")?;
        let dead: Vec<u32> = set
            .keys()
            .filter_map(Result::ok)
            .filter(|&pid| !lives(pid))
            .collect();
        for pid in dead {
            match set.remove(&pid) {
                Err(error) if !gone(&error) => return Err(map_error("TARGETS")(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the locks' statistics tell how long their waiters were ready to run.
    #[must_use]
    pub const fn tells_run_delay(&self) -> bool {
        self.tells_run_delay
    }

    /// Holds whose thread woke the word beside first, by word and ending.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn holds_beside(&self) -> Result<std::collections::HashMap<BesideKey, Tally>, PlaneError> {
        let map = self.map::<HashMap<&MapData, BesideKey, Tally>>("HOLDS_BESIDE")?;
        let entries = map.iter().collect::<Result<_, MapError>>();
        entries.map_err(map_error("HOLDS_BESIDE"))
    }

    /// Monotonic time at which a sleeping thread last ran; `None` when the kernel does not tell.
    #[must_use]
    pub fn asleep_since_ns(&self, task: &Task) -> Option<u64> {
        (task.last_ran_ns != 0 && self.clock_offset_ns != CLOCK_UNKNOWN)
            .then(|| task.last_ran_ns.wrapping_add(self.clock_offset_ns))
    }

    /// Measures the offset between the clocks; leaves it unknown when none of our own sleepers is found.
    fn set_clock(&mut self) -> Result<(), PlaneError> {
        let sleepers: io::Result<Vec<_>> = (0..CLOCK_SLEEPERS).map(|_| Sleeper::start()).collect();
        let sleepers = sleepers.map_err(census_error)?;
        let mut offset_ns = CLOCK_UNKNOWN;
        let deadline = Instant::now() + CLOCK_PATIENCE;
        while Instant::now() < deadline {
            let tasks = self.census().map_err(census_error)?;
            let asleep: Vec<(&Sleeper, &Task)> = sleepers
                .iter()
                .filter_map(|sleeper| {
                    let own = tasks.iter().find(|task| task.tid == sleeper.tid)?;
                    (own.state != 0).then_some((sleeper, own))
                })
                .collect();
            let offsets = asleep
                .iter()
                .filter(|(_, task)| task.last_ran_ns != 0)
                .map(|(own, task)| own.asleep_since_ns.wrapping_sub(task.last_ran_ns));
            // One that was kept from falling asleep has too small an offset, never too large a one.
            if let Some(largest_ns) = offsets.max_by_key(|offset_ns| offset_ns.cast_signed()) {
                offset_ns = largest_ns;
            }
            // On a busy machine it may take a while until all sleep.
            if asleep.len() == sleepers.len() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.clock_offset_ns = offset_ns;
        self.control(CONTROL_CLOCK, offset_ns)
            .map_err(map_error("CONTROL"))
    }

    /// Leaves out what `what` says of samples from now on: see [`holdup_abi::config::LEAVE_OUT_STACKS`].
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn leave_out(&mut self, what: u64) -> Result<(), PlaneError> {
        self.control(CONTROL_LEAVE_OUT, what)
            .map_err(map_error("CONTROL"))
    }

    /// The loaded object.
    #[must_use]
    pub const fn object(&self) -> &Ebpf {
        &self.attached.ebpf
    }

    /// Since when goroutines are watched, on the monotonic clock in nanoseconds; `None` when they are not.
    #[must_use]
    pub const fn goroutines_since_ns(&self) -> Option<u64> {
        self.goroutines_since_ns
    }

    fn control(&mut self, element: u32, value: u64) -> Result<(), MapError> {
        let map = self.attached.ebpf.map_mut("CONTROL");
        let map = map.ok_or(MapError::InvalidMapType { map_type: 0 })?;
        Array::<&mut MapData, u64>::try_from(map)?.set(element, value, 0)
    }

    fn map_mut<'a, T>(&'a mut self, name: &'static str) -> Result<T, PlaneError>
    where
        T: TryFrom<&'a mut Map, Error = MapError>,
    {
        let map = self
            .attached
            .ebpf
            .map_mut(name)
            .ok_or(MapError::InvalidMapType { map_type: 0 });
        map.and_then(T::try_from).map_err(map_error(name))
    }

    fn map<'a, T>(&'a self, name: &'static str) -> Result<T, PlaneError>
    where
        T: TryFrom<&'a Map, Error = MapError>,
    {
        let map = self
            .attached
            .ebpf
            .map(name)
            .ok_or(MapError::InvalidMapType { map_type: 0 });
        map.and_then(T::try_from).map_err(map_error(name))
    }
}

fn map_error(name: &'static str) -> impl Fn(MapError) -> PlaneError {
    move |error| PlaneError::Map {
        name,
        source: io::Error::other(error),
    }
}

fn census_error(source: io::Error) -> PlaneError {
    PlaneError::Map {
        name: "task iterator",
        source,
    }
}

/// Maps an array map into memory.
fn mapped<T>(
    ebpf: &Ebpf,
    name: &'static str,
    map: impl FnOnce(&MapFd) -> io::Result<T>,
) -> Result<T, PlaneError> {
    let Some(Map::Array(data)) = ebpf.map(name) else {
        return Err(map_error(name)(MapError::InvalidMapType { map_type: 0 }));
    };
    map(data.fd()).map_err(|source| PlaneError::Map { name, source })
}

fn fill_slots(ebpf: &mut Ebpf, name: &'static str, count: u32) -> Result<(), PlaneError> {
    let map = ebpf
        .map_mut(name)
        .ok_or(MapError::InvalidMapType { map_type: 0 });
    let slots = map.and_then(Queue::<&mut MapData, u32>::try_from);
    slots
        .and_then(|mut slots| (0..count).try_for_each(|slot| slots.push(slot, 0)))
        .map_err(map_error(name))
}

fn set_targets(ebpf: &mut Ebpf, targets: &[u32]) -> Result<(), MapError> {
    let map = ebpf
        .map_mut("TARGETS")
        .ok_or(MapError::InvalidMapType { map_type: 0 })?;
    let mut set = HashMap::<&mut MapData, u32, u32>::try_from(map)?;
    targets.iter().try_for_each(|pid| set.insert(pid, 1, 0))
}
