//! Who makes others wait, and how much of that is the scheduler's doing.

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Recording, Workload,
    report::{Lock, names, parse_address},
    toolchain::{Build, build},
};
use serde::Deserialize;

const HOLD_NS: u64 = 12_000_000;

#[derive(Deserialize)]
struct Truth {
    address: String,
    /// How long the real-time thread went on after the lock was given up.
    #[serde(default)]
    starved_ns: u64,
}

fn record(arguments: &[&str]) -> Result<(Lock, Truth)> {
    record_program("holds.c", arguments, "mutex")
}

fn record_program(source: &str, arguments: &[&str], kind: &str) -> Result<(Lock, Truth)> {
    let mut workload = Workload::start(&build(source, Build::Plain)?, arguments)?;
    let pid = workload.pid();
    let recording = Recording::with(&["-p", &workload.pid_text(), "--sample-interval", "1ms"])?;
    let truth: Truth = workload.go_to("truth")?;
    let capture = recording.stop()?;
    workload.finish()?;
    capture.nothing_lost()?;
    let lock = capture.lock(pid, parse_address(&truth.address)?, kind)?;
    Ok((lock.clone(), truth))
}

#[test]
fn every_hold_is_measured_and_those_to_blame_are_named() -> Result<()> {
    let (lock, _) = record(&["8", "12"])?;
    ensure!(lock.outcomes.woken == 40, "{:?}", lock.outcomes);
    let runqueue = lock.runqueue.context("no run queue")?;
    ensure!(
        (runqueue.waits, runqueue.wait_ns) == (40, lock.wait_ns.total),
        "{runqueue:?}"
    );
    let holds = lock.holds.context("no holds")?;
    // The main thread never had to wait; the worker and the victim did each time.
    ensure!(holds.measured == 40, "{} holds of 40", holds.measured);
    ensure!(
        holds.total_ns >= 20 * HOLD_NS && holds.max_ns >= HOLD_NS,
        "{holds:?}"
    );
    ensure!(holds.slept == 8, "{} of 8 asleep", holds.slept);
    ensure!(
        holds.slept_ns >= 8 * HOLD_NS && holds.slept_ns < holds.total_ns,
        "{holds:?}"
    );
    let counted: u64 = holds.histogram.iter().map(|bucket| bucket.count).sum();
    ensure!(counted == 40, "{counted} in the histogram");
    let blamed = |function: &str| {
        let sites = holds.sites.iter();
        let own = sites.filter(|site| names(&site.frames, function));
        own.fold((0, 0, 0), |(samples, off_cpu, ns), site| {
            let off_cpu = off_cpu + site.samples_off_cpu;
            (samples + site.samples, off_cpu, ns + site.charged_ns)
        })
    };
    for (function, expected, asleep) in [("app_hold_asleep", 8, 8), ("app_hold_busy", 12, 0)] {
        let (samples, off_cpu, charged_ns) = blamed(function);
        ensure!(
            (samples, off_cpu) == (expected, asleep),
            "{function}: {samples} releases, {off_cpu} off CPU"
        );
        ensure!(
            charged_ns >= expected * HOLD_NS,
            "{function}: {charged_ns} ns"
        );
    }
    // It took the mutex without waiting and kept it while others came: that counts. Most of its releases follow the
    // worker's too closely to be looked at, but not the first.
    let (samples, _, charged_ns) = blamed("app_hold_first");
    ensure!(
        (1..=20).contains(&samples) && charged_ns > 0,
        "the main thread's releases: {samples}, {charged_ns} ns"
    );
    let victim = blamed("app_be_held_up");
    ensure!(victim == (0, 0, 0), "the victim kept nobody: {victim:?}");
    Ok(())
}

/// More often than any sampling would look, and each lasts.
const ROUNDS: u64 = 300;
const TWO_WORDS_HOLD_NS: u64 = 200_000;

/// A writer of a reader-writer lock waits for readers on one word, and on the other one for writers: whoever gets it by
/// the first and lets go by the second has held it in between.
#[test]
fn a_hold_ends_on_the_second_word_of_a_reader_writer_lock() -> Result<()> {
    let rounds = ROUNDS.to_string();
    let (lock, _) = record_program("two_words.c", &["rwlock", &rounds], "rwlock_write")?;
    ensure!(lock.outcomes.woken == 2 * ROUNDS, "{:?}", lock.outcomes);
    let holds = lock.holds.context("no holds")?;
    ensure!(holds.measured == 2 * ROUNDS, "{} holds", holds.measured);
    let counted: u64 = holds.histogram.iter().map(|bucket| bucket.count).sum();
    ensure!(counted == holds.measured, "{counted} in the histogram");
    ensure!(
        holds.total_ns >= ROUNDS * TWO_WORDS_HOLD_NS
            && holds.total_ns <= lock.wait_ns.total + ROUNDS * TWO_WORDS_HOLD_NS,
        "{} ns; waits took {} ns",
        holds.total_ns,
        lock.wait_ns.total
    );
    Ok(())
}

/// The word beside a lock of one word is another thing, as the condition variable beside a mutex is: a wake of it ends
/// nothing.
#[test]
fn a_wake_of_the_word_beside_is_no_release() -> Result<()> {
    let rounds = ROUNDS.to_string();
    let (lock, _) = record_program("two_words.c", &["beside", &rounds], "unknown")?;
    ensure!(lock.outcomes.woken == ROUNDS, "{:?}", lock.outcomes);
    let holds = lock.holds.context("no holds")?;
    ensure!(holds.measured == ROUNDS, "{} holds", holds.measured);
    ensure!(
        holds.total_ns >= ROUNDS * TWO_WORDS_HOLD_NS,
        "{} ns",
        holds.total_ns
    );
    Ok(())
}

/// A real-time thread has the processor: the lock was free long before its waiter got on.
#[test]
fn a_wait_for_a_processor_is_told_from_one_for_the_lock() -> Result<()> {
    const PARKED_NS: u64 = 60_000_000;
    /// Between the workload's look at the clock and the wake.
    const MOMENT_NS: u64 = 5_000_000;
    let (lock, truth) = record(&["starve"])?;
    let runqueue = lock.runqueue.context("no wait was looked at")?;
    ensure!(
        (runqueue.waits, runqueue.wait_ns) == (1, lock.wait_ns.total),
        "{runqueue:?}, {:?}",
        lock.wait_ns
    );
    ensure!(
        truth.starved_ns >= 10 * MOMENT_NS,
        "the workload starved nobody: {} ns",
        truth.starved_ns
    );
    ensure!(
        runqueue.ready_ns + MOMENT_NS >= truth.starved_ns,
        "ready for {} ns of {}",
        runqueue.ready_ns,
        truth.starved_ns
    );
    let locked_ns = runqueue.wait_ns - runqueue.ready_ns;
    ensure!(locked_ns >= PARKED_NS, "for the lock {locked_ns} ns only");
    Ok(())
}
