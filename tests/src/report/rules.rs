//! What holds for every report, whatever was recorded. Checked on each that a test reads.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};

use super::{
    Bucket, Capture, Entry, Frame, GoProcess, Lock, Probe, Process, Snapshot, explanation,
};

const KINDS: &[&str] = &[
    "mutex",
    "rwlock_read",
    "rwlock_write",
    "semaphore",
    "condvar",
    "once",
    "barrier",
    "join",
    "idle",
    "runtime",
    "unknown",
];
const STATES: &[&str] = &[
    "running", "sleeping", "disk", "stopped", "traced", "zombie", "dead",
];

/// Checks a capture.
///
/// # Errors
/// With the first rule that does not hold.
pub fn capture(capture: &Capture) -> Result<()> {
    ensure!(
        capture.schema == "holdup.capture/v1",
        "schema {:?}",
        capture.schema
    );
    ensure!(
        is_utc(&capture.started_at),
        "started_at {:?}",
        capture.started_at
    );
    ensure!(capture.duration_ns > 0, "duration_ns is 0");
    ensure!(
        !capture.loss.is_empty(),
        "no loss counters: they are there and 0 from the start"
    );
    plan(&capture.plan)?;
    ensure!(
        capture.plan.iter().any(|probe| probe.status == "attached"),
        "nothing is attached: {:?}",
        capture.plan
    );
    processes(&capture.processes)?;
    let known: BTreeSet<u32> = capture
        .processes
        .iter()
        .map(|process| process.pid)
        .collect();
    for lock in &capture.locks {
        self::lock(lock).with_context(|| format!("lock {:#x} of {}", lock.address, lock.pid))?;
        ensure!(
            known.contains(&lock.pid),
            "lock of {}, which is not in processes",
            lock.pid
        );
    }
    explanation::rules(&capture.locks, &capture.root_blockers, &capture.deadlocks)?;
    capture.entry.iter().try_for_each(Entry::check)?;
    parked(&capture.processes, &capture.locks)
}

/// Checks a snapshot.
///
/// # Errors
/// With the first rule that does not hold.
pub fn snapshot(snapshot: &Snapshot) -> Result<()> {
    ensure!(
        snapshot.schema == "holdup.snapshot/v1",
        "schema {:?}",
        snapshot.schema
    );
    plan(&snapshot.plan)?;
    processes(&snapshot.processes)?;
    for lock in &snapshot.locks {
        self::lock(lock).with_context(|| format!("lock {:#x} of {}", lock.address, lock.pid))?;
        ensure!(
            lock.waiters > 0,
            "a lock nobody waits for: {:#x}",
            lock.address
        );
        ensure!(
            lock.waits == 0,
            "a snapshot saw waits end: {:#x}",
            lock.address
        );
        let here =
            |thread: &&super::Thread| thread.pid == lock.pid && thread.lock == Some(lock.address);
        let same_kind = |thread: &&super::Thread| thread.kind.as_deref() == Some(&lock.kind);
        let waiting = if lock.is_of_goroutines() {
            let go = snapshot.go.iter().filter(|go| go.pid == lock.pid);
            let groups = go.flat_map(|go| &go.groups);
            let of_lock = groups.filter(|group| {
                group.lock == Some(lock.address) && group.kind.as_deref() == Some(&lock.kind)
            });
            of_lock.map(|group| group.count).sum()
        } else {
            let threads = snapshot.threads.iter().filter(here);
            u64::try_from(threads.filter(same_kind).count())?
        };
        ensure!(
            waiting == lock.waiters,
            "{:#x}: {} waiters, but {waiting} wait for it",
            lock.address,
            lock.waiters
        );
    }
    snapshot.go.iter().try_for_each(GoProcess::check)?;
    for thread in &snapshot.threads {
        ensure!(
            STATES.contains(&thread.state.as_str()),
            "state {:?}",
            thread.state
        );
        ensure!(
            thread.lock.is_some() == thread.kind.is_some(),
            "thread {} has a lock or a kind, but not both",
            thread.tid
        );
        thread.frames.iter().try_for_each(frame)?;
    }
    explanation::rules(
        &snapshot.locks,
        &snapshot.root_blockers,
        &snapshot.deadlocks,
    )?;
    parked(&snapshot.processes, &snapshot.locks)
}

fn plan(plan: &[Probe]) -> Result<()> {
    for Probe {
        probe,
        status,
        reason,
    } in plan
    {
        ensure!(
            ["attached", "skipped", "unavailable"].contains(&status.as_str()),
            "{probe}: status {status:?}"
        );
        ensure!(!reason.is_empty(), "{probe} is {status} for no reason");
    }
    Ok(())
}

fn processes(processes: &[Process]) -> Result<()> {
    let pids: BTreeSet<u32> = processes.iter().map(|process| process.pid).collect();
    ensure!(pids.len() == processes.len(), "a process is listed twice");
    for kind in processes.iter().flat_map(|process| process.parked.keys()) {
        ensure!(KINDS.contains(&kind.as_str()), "parked kind {kind:?}");
    }
    Ok(())
}

fn parked(processes: &[Process], locks: &[Lock]) -> Result<()> {
    for process in processes {
        let waiters = |kind: &str| -> u64 {
            let those = |lock: &&Lock| lock.pid == process.pid && lock.kind == kind;
            locks.iter().filter(those).map(|lock| lock.waiters).sum()
        };
        for kind in KINDS {
            let parked = process.parked.get(*kind).copied().unwrap_or(0);
            ensure!(
                parked == waiters(kind),
                "process {}: {parked} parked in {kind}, but its locks have {} waiters",
                process.pid,
                waiters(kind)
            );
        }
    }
    Ok(())
}

fn lock(lock: &Lock) -> Result<()> {
    let Lock {
        id,
        kind,
        waiters,
        waiters_peak,
        waits,
        outcomes,
        wait_ns,
        oldest_wait_ns,
        histogram,
        sites,
        holder,
        ..
    } = lock;
    ensure!(!id.is_empty(), "no id");
    ensure!(KINDS.contains(&kind.as_str()), "kind {kind:?}");
    ensure!(
        waiters <= waiters_peak,
        "{waiters} waiters, but a peak of {waiters_peak}"
    );
    ensure!(
        *waits == outcomes.sum(),
        "{waits} waits, but outcomes {outcomes:?}"
    );
    let counted: u64 = histogram.iter().map(|bucket| bucket.count).sum();
    ensure!(
        *waits == counted,
        "{waits} waits, but {counted} in the histogram"
    );
    ensure!(wait_ns.max <= wait_ns.total, "wait_ns {wait_ns:?}");
    // The runtime of Go notes late since when a goroutine waits.
    let may_lack_age = lock.is_of_goroutines();
    ensure!(
        oldest_wait_ns.is_some() == (*waiters > 0) || may_lack_age,
        "{waiters} waiters, but the oldest is {oldest_wait_ns:?}"
    );
    self::histogram(histogram, wait_ns.total)?;
    let at_sites: u64 = sites.iter().map(|site| site.waits).sum();
    ensure!(
        sites.is_empty() || at_sites == *waits,
        "{waits} waits, but {at_sites} at its sites"
    );
    let time: u64 = sites.iter().map(|site| site.wait_ns).sum();
    ensure!(
        sites.is_empty() || time == wait_ns.total,
        "{wait_ns:?}, but {time} ns at its sites"
    );
    let now: u64 = sites.iter().map(|site| site.waiters).sum();
    ensure!(now <= *waiters, "{waiters} waiters, but {now} at its sites");
    sites
        .iter()
        .flat_map(|site| &site.frames)
        .try_for_each(frame)?;
    if let Some(holder) = holder {
        ensure!(holder.tid > 0 || holder.goid.is_some(), "holder 0");
        ensure!(!holder.known_by.is_empty(), "a holder is known by nothing");
        ensure!(
            ["exact", "observed", "inferred"].contains(&holder.confidence.as_str()),
            "confidence {:?}",
            holder.confidence
        );
        ensure!(
            holder.since_ns.is_some() || !holder.since_is_at_least,
            "at least nothing: {holder:?}"
        );
    }
    Ok(())
}

/// Buckets ascend by powers of two, are not empty, and can hold the total.
pub(super) fn histogram(histogram: &[Bucket], total_ns: u64) -> Result<()> {
    let mut least_ns = 0u64;
    let mut before = 0;
    for (index, Bucket { le_ns, count }) in histogram.iter().enumerate() {
        ensure!(*count > 0, "an empty bucket");
        let last = index + 1 == histogram.len();
        ensure!(
            le_ns.is_some() || last,
            "a bucket without a bound that is not the last"
        );
        if let Some(bound) = le_ns {
            ensure!(bound.is_power_of_two(), "bound {bound}");
            ensure!(*bound > before, "bounds do not ascend");
            // The first bucket of all has no lower bound; which it is, only the product knows.
            let lower = if *bound <= 1024 { 0 } else { bound / 2 };
            least_ns = least_ns.saturating_add(lower.saturating_mul(*count));
            before = *bound;
        }
    }
    ensure!(
        total_ns >= least_ns,
        "{total_ns} ns in all, but the histogram needs {least_ns}"
    );
    Ok(())
}

fn frame(frame: &Frame) -> Result<()> {
    ensure!(
        frame.line.is_none_or(|line| line > 0),
        "line 0 in {frame:?}"
    );
    ensure!(
        frame.function.as_deref() != Some(""),
        "an empty function name"
    );
    ensure!(
        !frame
            .function
            .as_deref()
            .unwrap_or_default()
            .starts_with("_ZN"),
        "a mangled name: {:?}",
        frame.function
    );
    Ok(())
}

/// `YYYY-MM-DDTHH:MM:SS[.fraction]Z`
fn is_utc(time: &str) -> bool {
    let shape = b"0000-00-00T00:00:00";
    let bytes = time.as_bytes();
    let fits = shape.iter().zip(bytes).all(|(wanted, got)| match wanted {
        b'0' => got.is_ascii_digit(),
        other => got == other,
    });
    let rest = time.get(shape.len()..).unwrap_or_default();
    let fraction = rest
        .strip_suffix('Z')
        .map(|rest| rest.trim_start_matches('.'));
    fits && fraction.is_some_and(|fraction| fraction.bytes().all(|byte| byte.is_ascii_digit()))
}
