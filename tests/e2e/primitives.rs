//! Each lock of the C library: what it is, where it is, who waits, who holds it, and which function took it.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Recording, Workload, holdup,
    report::{Capture, Lock, Outcomes},
    toolchain::{Build, build},
    workload::{Parked, Released},
};

/// Modes of `primitives.c` that glibc and musl both have.
const MODES: &[&str] = &[
    "mutex_normal",
    "mutex_recursive",
    "mutex_errorcheck",
    "mutex_inherit",
    "mutex_robust",
    "mutex_shared",
    "mutex_timed",
    "mutex_inherit_timed",
    "read_behind_writer",
    "write_behind_writer",
    "write_behind_reader",
    "read_timed",
    "write_timed",
    "cond",
    "cond_timed",
    "semaphore",
    "semaphore_timed",
    "barrier",
    "once",
    "join",
];

/// Modes of glibc only.
const GLIBC_MODES: &[&str] = &[
    "mutex_adaptive",
    "mutex_clock",
    "read_clock",
    "write_clock",
    "cond_clock",
    "semaphore_clock",
];

/// A recording of one mode: threads park, a snapshot is taken of them, they are released.
pub struct Observed {
    /// Process id.
    pub pid: u32,
    /// What the workload said while its threads were parked.
    pub parked: Parked,
    /// What it said in the end.
    pub released: Released,
    /// What `holdup snapshot` said while they were parked.
    pub snapshot: holdup_tests::report::Snapshot,
    /// What `holdup record` said.
    pub capture: Capture,
}

/// Runs `program` in `mode` under holdup.
pub fn observe(program: &Path, arguments: &[&str]) -> Result<Observed> {
    let mut workload = Workload::start(program, arguments)?;
    let pid = workload.pid();
    let recording = Recording::of(pid)?;
    let parked: Parked = workload.go_to("parked")?;
    let snapshot = holdup::snapshot(pid)?;
    let released: Released = workload.go_to("truth")?;
    let capture = recording.stop()?;
    workload.finish()?;
    Ok(Observed {
        pid,
        parked,
        released,
        snapshot,
        capture,
    })
}

/// What to demand of a mode beyond its counts.
#[derive(Clone, Copy)]
pub struct Demands {
    /// The holder is known to a snapshot, and what the evidence must mention.
    pub holder: bool,
    /// Stacks must name the application's function.
    pub function: bool,
}

impl Observed {
    /// Checks counts, kind, address, holder and function.
    pub fn check(&self, demands: Demands) -> Result<()> {
        let Self {
            pid,
            parked,
            released,
            snapshot,
            capture,
        } = self;
        let waiters = u64::try_from(parked.waiters.len())?;
        ensure!(released.woken == waiters, "{released:?}");

        let now = snapshot
            .lock(*pid, parked.address, &parked.kind)
            .context("snapshot")?;
        ensure!(
            now.waiters == waiters,
            "snapshot: {} of {waiters} waiters",
            now.waiters
        );
        for tid in &parked.waiters {
            let thread = snapshot.thread(*tid)?;
            ensure!(
                thread.lock == Some(parked.address),
                "thread {tid}: {thread:?}"
            );
            ensure!(
                thread.kind.as_deref() == Some(&parked.kind),
                "thread {tid}: {thread:?}"
            );
        }
        if demands.holder {
            parked
                .check_holder(now.holder.as_ref())
                .context("snapshot")?;
        }

        let lock = capture
            .lock(*pid, parked.address, &parked.kind)
            .context("capture")?;
        self.check_counts(lock)?;
        if demands.function {
            for (what, lock) in [("snapshot", now), ("capture", lock)] {
                ensure!(
                    lock.names(&parked.function),
                    "{what}: no {} in{}",
                    parked.function,
                    lock.stacks()
                );
            }
        }
        capture.nothing_lost()
    }

    fn check_counts(&self, lock: &Lock) -> Result<()> {
        let expected = Outcomes {
            woken: self.released.woken,
            ..Outcomes::default()
        };
        ensure!(
            lock.outcomes == expected,
            "{:?}, truth {expected:?}",
            lock.outcomes
        );
        ensure!(lock.waiters == 0, "{} ghost waiters", lock.waiters);
        // Writers behind a reader sleep on two words of the lock, and each word has a peak of its own.
        let two_words =
            self.parked.function.starts_with("app_take_write") && self.parked.holder.is_none();
        let least = self.released.woken - u64::from(two_words);
        ensure!(
            (least..=self.released.woken).contains(&lock.waiters_peak),
            "peak {}",
            lock.waiters_peak
        );
        ensure!(!lock.oldest_is_at_least, "all waits began while recording");
        ensure!(
            lock.last_handoff_ns
                .is_some_and(|ns| ns < self.capture.duration_ns),
            "no hand-off was seen"
        );
        Ok(())
    }
}

fn every_mode(
    modes: &[&str],
    library: Build,
    options: &[&str],
    demands: impl Fn(&str) -> Demands,
) -> Result<()> {
    let program = build("primitives.c", library)?;
    let mut wrong = Vec::new();
    for &mode in modes {
        let waiters = if mode == "join" { "1" } else { "3" };
        let arguments = [&[mode, waiters], options].concat();
        let checked =
            observe(&program, &arguments).and_then(|observed| observed.check(demands(mode)));
        wrong.extend(checked.err().map(|error| format!("{mode}: {error:#}")));
    }
    ensure!(
        wrong.is_empty(),
        "{} of {} modes:\n{}",
        wrong.len(),
        modes.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// glibc stores the owner of a mutex and the writer of a reader-writer lock.
const fn full(_: &str) -> Demands {
    Demands {
        holder: true,
        function: true,
    }
}

/// musl stores an owner in some types of mutex only, and never in a reader-writer lock.
fn musl(mode: &str) -> Demands {
    let owned = [
        "mutex_recursive",
        "mutex_errorcheck",
        "mutex_robust",
        "mutex_inherit",
        "mutex_inherit_timed",
    ];
    Demands {
        holder: owned.contains(&mode),
        function: true,
    }
}

#[test]
fn glibc_static() -> Result<()> {
    every_mode(&[MODES, GLIBC_MODES].concat(), Build::Plain, &[], full)
}

#[test]
fn glibc_heap() -> Result<()> {
    every_mode(
        &[MODES, GLIBC_MODES].concat(),
        Build::Plain,
        &["--heap"],
        full,
    )
}

#[test]
fn musl_static() -> Result<()> {
    // A condition variable of musl waits on the waiter's own stack, a barrier likewise: the lock itself is not what the
    // kernel sees, so these have a test of their own.
    let modes: Vec<&str> = MODES
        .iter()
        .copied()
        .filter(|mode| !mode.starts_with("cond") && *mode != "barrier")
        .collect();
    every_mode(&modes, Build::Musl, &[], musl)
}

/// musl's condition variables and barriers: kind, function and number are known, the address of the object is not
/// demanded.
#[test]
fn musl_waits_on_the_stack() -> Result<()> {
    let program = build("primitives.c", Build::Musl)?;
    for mode in ["cond", "cond_timed", "barrier"] {
        let observed = observe(&program, &[mode, "3"]).context(mode)?;
        let Observed {
            pid,
            parked,
            capture,
            ..
        } = &observed;
        let named = |lock: &&Lock| {
            lock.pid == *pid && lock.kind == parked.kind && lock.names(&parked.function)
        };
        let waits: u64 = capture
            .locks
            .iter()
            .filter(named)
            .map(|lock| lock.outcomes.woken)
            .sum();
        ensure!(
            waits == 3,
            "{mode}: {waits} waits of kind {} in {}",
            parked.kind,
            parked.function
        );
        capture.nothing_lost()?;
    }
    Ok(())
}

/// The timed variants when nobody lets go: the wait ends by itself.
#[test]
fn timeouts() -> Result<()> {
    #[derive(serde::Deserialize)]
    struct GaveUp {
        address: String,
        kind: String,
        function: String,
        woken: u64,
        timed_out: u64,
    }
    let program = build("primitives.c", Build::Plain)?;
    let timed = [MODES, GLIBC_MODES].concat();
    for mode in timed
        .into_iter()
        .filter(|mode| mode.ends_with("timed") || mode.ends_with("clock"))
    {
        let mut workload = Workload::start(&program, &[mode, "3", "--timeout-ms", "200"])?;
        let recording = Recording::of(workload.pid())?;
        let truth: GaveUp = workload.go_to("truth")?;
        let capture = recording.stop()?;
        ensure!(
            (truth.woken, truth.timed_out) == (0, 3),
            "{mode}: the workload is wrong"
        );
        let address = holdup_tests::report::parse_address(&truth.address)?;
        let lock = capture
            .lock(workload.pid(), address, &truth.kind)
            .context(mode)?;
        let expected = Outcomes {
            timed_out: 3,
            ..Outcomes::default()
        };
        ensure!(lock.outcomes == expected, "{mode}: {:?}", lock.outcomes);
        ensure!(
            lock.names(&truth.function),
            "{mode}: no {} in{}",
            truth.function,
            lock.stacks()
        );
        // At least the timeout, less what passed before the wait began.
        ensure!(lock.wait_ns.max > 100_000_000, "{mode}: {:?}", lock.wait_ns);
        capture.nothing_lost().context(mode)?;
        workload.finish()?;
    }
    Ok(())
}

/// A static lock goes by its variable's name; one on the heap has none. Either is named by where the application waits.
#[test]
fn symbol_site_and_identity() -> Result<()> {
    let program = build("primitives.c", Build::Plain)?;
    let first = observe(&program, &["mutex_normal", "2"])?;
    let again = observe(&program, &["mutex_normal", "2"])?;
    let heap = observe(&program, &["mutex_normal", "2", "--heap"])?;
    let heap_again = observe(&program, &["mutex_normal", "2", "--heap"])?;
    let lock = |observed: &Observed| -> Result<Lock> {
        Ok(observed
            .capture
            .lock(observed.pid, observed.parked.address, "mutex")?
            .clone())
    };
    let (first, again, heap, heap_again) = (
        lock(&first)?,
        lock(&again)?,
        lock(&heap)?,
        lock(&heap_again)?,
    );
    ensure!(
        first.symbol.as_deref() == Some("app_mutex"),
        "symbol {:?}",
        first.symbol
    );
    ensure!(
        heap.symbol.is_none(),
        "a heap lock has symbol {:?}",
        heap.symbol
    );
    for lock in [&first, &heap] {
        let site = lock.site.as_deref().unwrap_or_default();
        ensure!(
            site.starts_with("app_take_mutex"),
            "site {site:?} of{}",
            lock.stacks()
        );
    }
    ensure!(
        first.id == again.id,
        "id changes over a restart: {} {}",
        first.id,
        again.id
    );
    ensure!(
        heap.id == heap_again.id,
        "id changes over a restart: {} {}",
        heap.id,
        heap_again.id
    );
    ensure!(first.id != heap.id, "two locks have one id");
    Ok(())
}
