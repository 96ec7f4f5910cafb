//! Every wait is counted, once, under the outcome that the waiter itself saw.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Recording, Workload,
    report::{Capture, Lock, Outcomes},
    toolchain::{Build, build},
    workload::{Parked, Released, TrueLock, Truth},
};

/// Records a workload from its first wait to its last.
fn record(source: &str, arguments: &[&str]) -> Result<(u32, Capture, Truth)> {
    let mut workload = Workload::start(&build(source, Build::Plain)?, arguments)?;
    let recording = Recording::of(workload.pid())?;
    let truth: Truth = workload.go_to("truth")?;
    let capture = recording.stop()?;
    let pid = workload.pid();
    workload.finish()?;
    Ok((pid, capture, truth))
}

/// Compares one true lock with whatever the capture has at its addresses.
pub fn check(capture: &Capture, pid: u32, truth: &TrueLock) -> Result<()> {
    let (mut outcomes, mut value_changed, mut waits) = (Outcomes::default(), 0, 0);
    for address in &truth.addresses {
        for lock in capture.at(pid, *address) {
            outcomes.add(lock.outcomes);
            value_changed += lock.value_changed;
            waits += lock.waits;
            ensure!(
                lock.waiters == 0,
                "{}: {} ghost waiters",
                truth.name,
                lock.waiters
            );
        }
    }
    let expected = (truth.waits, truth.outcomes, truth.value_changed);
    ensure!(
        (waits, outcomes, value_changed) == expected,
        "{}: holdup saw {waits} waits, {outcomes:?}, {value_changed} changed; truth is {} waits, {:?}, {} changed",
        truth.name,
        truth.waits,
        truth.outcomes,
        truth.value_changed
    );
    Ok(())
}

/// A million waits, handed to and fro on one processor: not one lost, not one too many, none elsewhere.
#[test]
fn a_million_handovers_are_exact() -> Result<()> {
    let (pid, capture, truth) = record("futex_pingpong.c", &["1000000"])?;
    ensure!(
        truth.waits() >= 1_000_000,
        "the workload waited {} times only",
        truth.waits()
    );
    for lock in &truth.locks {
        check(&capture, pid, lock)?;
    }
    ensure!(
        capture.waits_of(pid) == truth.waits(),
        "waits at other addresses"
    );
    capture.nothing_lost()
}

/// Timeouts, signals, wakes and changed values all at once, on eight threads, in no order.
#[test]
fn a_storm_of_mixed_outcomes_is_exact() -> Result<()> {
    let (pid, capture, truth) = record("futex_storm.c", &["8", "100000"])?;
    let outcomes = truth
        .locks
        .iter()
        .fold(Outcomes::default(), |mut sum, lock| {
            sum.add(lock.outcomes);
            sum
        });
    ensure!(
        outcomes.woken > 0 && outcomes.timed_out > 0 && outcomes.interrupted > 0,
        "the storm was too calm: {outcomes:?}"
    );
    for lock in &truth.locks {
        check(&capture, pid, lock)?;
    }
    ensure!(
        capture.waits_of(pid) == truth.waits(),
        "waits at other addresses"
    );
    capture.nothing_lost()
}

/// Every operation of every futex system call, in every way it can end: see the table in `futex_ops.c`. Among them
/// waits that the kernel restarts after a signal, which are one wait to the program.
#[test]
fn every_operation_ends_as_the_waiter_saw() -> Result<()> {
    let (pid, capture, truth) = record("futex_ops.c", &["200"])?;
    let mut wrong = Vec::new();
    for lock in truth.locks.iter().filter(|lock| lock.supported) {
        let checked = if lock.is_wait {
            check(&capture, pid, lock)
        } else {
            check_no_wait(&capture, pid, lock)
        };
        wrong.extend(checked.err().map(|error| format!("{error:#}")));
    }
    for (name, wakes, requeues) in [
        ("WAIT, WAKE", 200, 0),
        ("WAIT, REQUEUE", 200, 200),
        ("WAIT, CMP_REQUEUE", 200, 200),
    ] {
        wrong.extend(
            check_wakes(&capture, pid, &truth, name, wakes, requeues)
                .err()
                .map(|e| format!("{e:#}")),
        );
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(
        truth
            .locks
            .iter()
            .any(|lock| lock.name == "WAIT, WAKE" && lock.supported && lock.waits == 200),
        "the workload did nothing"
    );
    capture.nothing_lost()
}

/// Each round lets go once, when the waiter is known to be parked.
fn check_wakes(
    capture: &Capture,
    pid: u32,
    truth: &Truth,
    name: &str,
    wakes: u64,
    requeues: u64,
) -> Result<()> {
    let known = truth
        .locks
        .iter()
        .find(|lock| lock.name == name)
        .context("no such scenario")?;
    let sum = |field: fn(&Lock) -> u64| -> u64 {
        known
            .addresses
            .iter()
            .flat_map(|address| capture.at(pid, *address))
            .map(field)
            .sum()
    };
    let seen = (sum(|lock| lock.wakes), sum(|lock| lock.requeues));
    ensure!(
        seen == (wakes, requeues),
        "{name}: {seen:?} wakes and requeues"
    );
    Ok(())
}

/// `FUTEX_TRYLOCK_PI` never sleeps: it is neither a wait nor a wait that was called off.
fn check_no_wait(capture: &Capture, pid: u32, truth: &TrueLock) -> Result<()> {
    for lock in truth
        .addresses
        .iter()
        .flat_map(|address| capture.at(pid, *address))
    {
        ensure!(
            lock.waits == 0 && lock.value_changed == 0,
            "{} was counted: {lock:?}",
            truth.name
        );
    }
    Ok(())
}

/// A stopped and continued process re-enters its timed waits through another system call, `restart_syscall`; each is
/// one wait, and it timed out.
#[test]
fn a_stopped_and_continued_wait_is_one_wait() -> Result<()> {
    let program = build("primitives.c", Build::Plain)?;
    let mut workload = Workload::start(&program, &["mutex_timed", "5", "--timeout-ms", "1500"])?;
    let recording = Recording::of(workload.pid())?;
    workload.go()?;
    // The waiters are given time to park, and then the whole process is stopped and continued a few times. Should they
    // be late, the signals meet no wait: the truth holds either way.
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(100));
        workload.signal(libc::SIGSTOP)?;
        thread::sleep(Duration::from_millis(20));
        workload.signal(libc::SIGCONT)?;
    }
    #[derive(serde::Deserialize)]
    struct TimedOut {
        address: String,
        timed_out: u64,
    }
    let truth: TimedOut = workload.event("truth")?;
    let capture = recording.stop()?;
    let address = holdup_tests::report::parse_address(&truth.address)?;
    let lock = capture.lock(workload.pid(), address, "mutex")?;
    ensure!(truth.timed_out == 5, "{} timed out", truth.timed_out);
    let expected = Outcomes {
        timed_out: 5,
        ..Outcomes::default()
    };
    ensure!(lock.outcomes == expected, "{:?}", lock.outcomes);
    ensure!(lock.waiters == 0 && lock.waiters_peak == 5, "{lock:?}");
    ensure!(
        lock.wait_ns.max >= 1_400_000_000,
        "the pieces were not put together: {:?}",
        lock.wait_ns
    );
    workload.finish()?;
    capture.nothing_lost()
}

/// The same without a timeout, where the kernel restarts the call itself.
#[test]
fn a_stopped_and_continued_untimed_wait_is_one_wait() -> Result<()> {
    let program = build("primitives.c", Build::Plain)?;
    let mut workload = Workload::start(&program, &["mutex_normal", "5"])?;
    let recording = Recording::of(workload.pid())?;
    let parked: Parked = workload.go_to("parked")?;
    for _ in 0..5 {
        workload.signal(libc::SIGSTOP)?;
        thread::sleep(Duration::from_millis(20));
        workload.signal(libc::SIGCONT)?;
        thread::sleep(Duration::from_millis(20));
    }
    let released: Released = workload.go_to("truth")?;
    let capture = recording.stop()?;
    let lock = capture.lock(workload.pid(), parked.address, "mutex")?;
    let expected = Outcomes {
        woken: released.woken,
        ..Outcomes::default()
    };
    ensure!(
        released.woken == 5 && lock.outcomes == expected,
        "{:?}",
        lock.outcomes
    );
    ensure!(lock.waiters_peak == 5, "{lock:?}");
    workload.finish()?;
    capture.nothing_lost()
}
