//! A recording: attached, running, and its report.

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    Options, configure::configure, goroutines::Goroutines, overhead::Overhead, slow::Slow,
};
use crate::{
    ingest::{
        clock::monotonic_ns,
        entry::{self, EntryData, Reclaim},
        plane::{Plane, PlaneError},
    },
    model::{Capture, plan::PlanEntry},
    probe::{
        entry::Entry,
        feature::Features,
        object::{self, Capacity},
        plan::Wanted,
    },
    proc::memory::Copied,
    report::{self, capture, engine::Engine, goroutines::ageing::Ageing},
    symbol::Space,
};

/// How often the ring buffer is looked at even when the kernel does not call.
const TICK: Duration = Duration::from_millis(100);

/// Ticks between two looks for targets that are gone.
const TICKS_PER_PRUNING: u32 = 10;
/// How much larger the ring buffer is when calls of lock functions are followed.
const ENTRY_RING_FACTOR: u32 = 4;
/// Longest time spent on samples before anything else gets its turn.
const TURN: Duration = Duration::from_millis(50);
/// The same at the end, when what is left would be lost.
const LAST_TURN: Duration = Duration::from_secs(1);

/// What goes on, for a progress line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Time since recording began.
    pub elapsed: Duration,
    /// Finished waits.
    pub waits: u64,
    /// Locks somebody has waited on.
    pub locks: u64,
    /// Threads waiting now.
    pub waiters: u64,
}

/// A recording that is attached and running.
#[expect(
    missing_debug_implementations,
    reason = "maps and symbol caches are not worth printing"
)]
pub struct Recording {
    plane: Plane,
    slow: Option<Slow>,
    engine: Engine,
    /// Whose calls of lock functions are followed, if asked for.
    entry: Option<(Entry, Reclaim)>,
    goroutines: Option<Goroutines>,
    overhead: Option<Overhead>,
    /// The kernel side adds processes to the set of targets.
    targets_grow: bool,
    started: Instant,
    started_at: SystemTime,
    /// Looks at goroutines.
    ageing: Option<Ageing>,
}

impl Recording {
    /// Attaches, and takes in the threads that are parked already.
    ///
    /// # Errors
    /// Privileges, or a kernel without what is required.
    pub fn start(features: &Features, options: &Options) -> Result<Self, PlaneError> {
        let config = configure(features, options);
        let wanted = Wanted {
            follow_forks: config.follow_forks == 1,
            uprobes: options.probes.any(),
        };
        let capacity = Capacity {
            entry: options.probes.entry,
            // A program's first moments show all its pairs of locks, and each comes with two stacks.
            ring_bytes: match options.capacity.ring_bytes.checked_mul(ENTRY_RING_FACTOR) {
                Some(larger) if options.probes.entry => larger,
                _ => options.capacity.ring_bytes,
            },
            ..options.capacity
        };
        let pids = options.watch.pids();
        let mut plane = Plane::attach(&config, capacity, features, wanted, pids)?;
        let mut overhead = Overhead::start(
            &mut plane,
            options.probes.max_overhead_percent,
            options.tell,
        );
        let mut entry = None;
        if options.probes.entry {
            let mut new = Entry::new(&mut plane, &options.probes, options.tell)?;
            pids.iter().for_each(|&pid| new.look(&mut plane, pid));
            let slots = object::entry_locks(capacity) as usize;
            entry = Some((new, Reclaim::new(plane.object(), slots)?));
        }
        let slow = Slow::start(features, options, &mut plane);
        let mut engine = Engine::sampling(config.sample_interval_ns);
        let mut goroutines = options.probes.go.then(|| Goroutines::of(&options.watch));
        if let Some(goroutines) = &mut goroutines {
            goroutines.look(&mut plane, &mut engine);
        }
        if let Some(overhead) = &mut overhead {
            overhead.release(&mut plane);
        }
        if let Some(goroutines) = &mut goroutines {
            goroutines.look_back(&mut engine);
        }
        // Loading the programs takes a while, in which nothing is seen.
        let (started, started_at) = (Instant::now(), SystemTime::now());
        if options.sample_interval.is_some() {
            engine.first_look(&mut capture::waiters(&mut plane)?);
        }
        let mut spaces = engine.processes.spaces();
        let unmet = options
            .watch
            .pids()
            .iter()
            .map(|&pid| Space { pid, generation: 0 });
        let unmet: Vec<Space> = unmet
            .filter(|space| !spaces.iter().any(|met| met.pid == space.pid))
            .collect();
        spaces.extend(unmet);
        let ageing = Ageing::start(spaces, engine.live.take_ages());
        Ok(Self {
            plane,
            slow,
            engine,
            ageing,
            entry,
            goroutines,
            overhead,
            targets_grow: config.follow_forks == 1,
            started,
            started_at,
        })
    }

    /// The watched process `pid` is about to execute `program`: what that will load is probed at once, where it matters.
    pub fn expect(&mut self, pid: u32, program: &Path) {
        let Self {
            plane, entry, slow, ..
        } = self;
        let library_path = std::env::var_os("LD_LIBRARY_PATH");
        if let Some((entry, _)) = entry {
            entry.expect(plane, pid, program, library_path.as_deref());
        }
        if let Some(slow) = slow {
            slow.expect(plane, pid, program, library_path.as_deref());
        }
    }

    /// Calls of lock functions until now; `None` when they were not asked for.
    ///
    /// # Errors
    /// A table cannot be read.
    pub fn entry_data(&mut self) -> Result<Option<EntryData>, PlaneError> {
        self.drain(LAST_TURN);
        let Some((_, table)) = &self.entry else {
            return Ok(None);
        };
        let Engine { entry, symbols, .. } = &mut self.engine;
        let mut unwind = |space, regs, memory: &Copied<'_>| symbols.unwind(space, regs, memory);
        entry::read(self.plane.object(), table, entry, &mut unwind).map(Some)
    }

    /// Every probe with its fate, as of now.
    #[must_use]
    pub fn plan(&self) -> &[PlanEntry] {
        self.plane.plan()
    }

    /// What the kernel side has lost so far, by name.
    ///
    /// # Errors
    /// A table cannot be read.
    pub fn losses(&self) -> Result<BTreeMap<String, u64>, PlaneError> {
        self.plane.losses()
    }

    /// Takes in samples until `until` is ready; calls `progress` now and then, with a function that adds up what there
    /// is.
    ///
    /// # Errors
    /// The ring buffer cannot be waited for.
    pub async fn run(
        &mut self,
        until: impl Future<Output = ()>,
        mut progress: impl FnMut(&dyn Fn() -> Progress),
    ) -> io::Result<()> {
        let mut until = std::pin::pin!(until);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ring = self.plane.ring.as_fd().try_clone_to_owned()?;
        // SAFETY: an owned descriptor stays the same and open until the `AsyncFd` drops it.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?;
        let mut turns: u32 = 0;
        loop {
            self.drain(TURN);
            tokio::select! {
                biased;
                () = &mut until => break,
                _ = ticks.tick() => {
                    progress(&|| self.progress());
                    self.follow()?;
                    if let Some(goroutines) = &mut self.goroutines {
                        goroutines.look(&mut self.plane, &mut self.engine);
                        goroutines.look_back(&mut self.engine);
                    }
                    if let Some(overhead) = &mut self.overhead {
                        overhead.look(&mut self.plane);
                    }
                    turns = turns.saturating_add(1);
                    self.look_for_files(turns);
                    if turns.is_multiple_of(TICKS_PER_PRUNING) {
                        self.prune()?;
                        if self.goroutines.is_some() {
                            // Those of processes that are gone make room.
                            self.plane.goroutines().map_err(io::Error::other)?;
                        }
                    }
                }
                ready = readable(&ring) => ready?,
            }
        }
        self.drain(LAST_TURN);
        Ok(())
    }

    /// Takes in what the ring buffer holds, but no more than one turn's worth: a flood must not keep us from ending.
    fn drain(&mut self, turn: Duration) {
        let Self { plane, engine, .. } = self;
        let deadline = Instant::now() + turn;
        while let Some(record) = plane.ring.next() {
            engine.record(&record);
            if Instant::now() >= deadline {
                break;
            }
        }
    }

    /// Probes what the followed processes have loaded meanwhile, and processes that have joined them.
    fn follow(&mut self) -> io::Result<()> {
        let Self { plane, entry, .. } = self;
        if let Some((entry, reclaim)) = entry {
            reclaim.look(plane).map_err(io::Error::other)?;
            let more = if self.targets_grow {
                plane.targets().map_err(io::Error::other)?
            } else {
                Vec::new()
            };
            let proc = crate::proc::process::Proc::default();
            entry.look_again(plane, &more, |pid| proc.exists(pid));
        }
        Ok(())
    }

    /// Often at first: a program that was just started is still loading its libraries.
    fn look_for_files(&mut self, turn: u32) {
        if let Some(slow) = &mut self.slow
            && (turn < TICKS_PER_PRUNING || turn.is_multiple_of(TICKS_PER_PRUNING))
        {
            slow.look(&mut self.plane);
        }
    }

    fn prune(&mut self) -> io::Result<()> {
        if !self.targets_grow {
            return Ok(());
        }
        let proc = crate::proc::process::Proc::default();
        self.plane
            .prune_targets(|pid| proc.exists(pid))
            .map_err(io::Error::other)
    }

    fn progress(&self) -> Progress {
        let mut progress = Progress {
            elapsed: self.started.elapsed(),
            ..Progress::default()
        };
        for (_, lock) in self.plane.locks.iter() {
            progress.locks += 1;
            progress.waits += lock.woken + lock.timed_out + lock.interrupted + lock.error;
            progress.waiters += lock.waiters;
        }
        progress
    }

    /// Ends the recording and builds the report. What is attached stays so until this is dropped, which the kernel takes
    /// a good part of a second for: show the report first.
    ///
    /// # Errors
    /// A table cannot be read.
    pub fn finish(&mut self) -> Result<Capture, PlaneError> {
        let duration = self.started.elapsed();
        self.engine.goroutines = self.ageing.take().map(Ageing::finish).unwrap_or_default();
        let mut price = None;
        for entry in self.slow.iter().flat_map(Slow::plan) {
            self.plane.add_to_plan(entry);
        }
        if let Some(overhead) = &mut self.overhead {
            overhead.look(&mut self.plane);
            overhead.tell_plan(&mut self.plane);
            price = Some(overhead.spent().into());
        }
        let entry = self.entry_data()?.map(|data| (data, monotonic_ns()));
        let Self { plane, engine, .. } = self;
        let mut capture = capture::build(plane, engine, self.started_at, duration)?;
        if let Some((data, now_ns)) = entry {
            report::entry::add(&mut capture, &data, engine, price, now_ns);
        }
        Ok(capture)
    }
}

/// Ready when the ring buffer has something.
async fn readable(ring: &AsyncFd<OwnedFd>) -> io::Result<()> {
    ring.readable().await?.clear_ready();
    // Samples come in bursts; a short nap takes them in one go.
    sleep(Duration::from_millis(5)).await;
    Ok(())
}
