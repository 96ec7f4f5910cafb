//! `holdup snapshot`: a process that wedged before we came.

use std::{thread, time::Duration, time::Instant};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Workload, holdup,
    toolchain::{Build, build},
    workload::{Parked, Released},
};

/// Every thread: what it is in, since when, where; and who holds the lock.
#[test]
fn a_process_that_wedged_earlier() -> Result<()> {
    let mut workload = Workload::start(
        &build("primitives.c", Build::Plain)?,
        &["mutex_normal", "4"],
    )?;
    let pid = workload.pid();
    let started = Instant::now();
    let parked: Parked = workload.go_to("parked")?;
    let wedged = Instant::now();
    // So that an age can be told from none.
    thread::sleep(Duration::from_millis(300));
    let at_least = u64::try_from(wedged.elapsed().as_nanos())?;
    let snapshot = holdup::snapshot(pid)?;
    let at_most = u64::try_from(started.elapsed().as_nanos())?;

    let holder = parked.holder.context("the workload is wrong")?;
    let mut tids: Vec<u32> = snapshot.threads.iter().map(|thread| thread.tid).collect();
    let mut expected = [parked.waiters.as_slice(), &[pid, holder]].concat();
    tids.sort_unstable();
    expected.sort_unstable();
    ensure!(tids == expected, "threads {tids:?}, truth {expected:?}");

    for tid in &parked.waiters {
        let thread = snapshot.thread(*tid)?;
        ensure!(
            thread.pid == pid && thread.state == "sleeping",
            "{thread:?}"
        );
        ensure!(thread.syscall.as_deref() == Some("futex"), "{thread:?}");
        ensure!(thread.lock == Some(parked.address), "{thread:?}");
        ensure!(thread.kind.as_deref() == Some("mutex"), "{thread:?}");
        let since = thread
            .since_ns
            .with_context(|| format!("no age: {thread:?}"))?;
        ensure!(
            (at_least..=at_most).contains(&since),
            "asleep for {since} ns, truth {at_least} to {at_most}"
        );
        ensure!(
            holdup_tests::report::names(&thread.frames, "app_take_mutex"),
            "{thread:?}"
        );
    }
    for tid in [pid, holder] {
        let thread = snapshot.thread(tid)?;
        ensure!(thread.lock.is_none() && thread.kind.is_none(), "{thread:?}");
        ensure!(thread.syscall.as_deref() == Some("read"), "{thread:?}");
    }
    let frames = &snapshot.thread(holder)?.frames;
    ensure!(
        holdup_tests::report::names(frames, "app_hold_mutex"),
        "where the holder is: {frames:?}"
    );

    let lock = snapshot.lock(pid, parked.address, "mutex")?;
    let known = lock.holder.as_ref().context("no holder")?;
    ensure!(
        known.tid == holder && known.known_by.contains("glibc"),
        "{known:?}"
    );
    let oldest = lock.oldest_wait_ns.context("no age")?;
    ensure!(
        (at_least..=at_most).contains(&oldest),
        "oldest {oldest} ns, truth {at_least} to {at_most}"
    );

    let _: Released = workload.go_to("truth")?;
    workload.finish()
}

/// It changes nothing: afterwards all threads are released and the program ends in good order.
#[test]
fn many_snapshots_do_no_harm() -> Result<()> {
    let mut workload = Workload::start(&build("primitives.c", Build::Plain)?, &["cond", "8"])?;
    let parked: Parked = workload.go_to("parked")?;
    for _ in 0..5 {
        let snapshot = holdup::snapshot(workload.pid())?;
        let lock = snapshot.lock(workload.pid(), parked.address, "condvar")?;
        ensure!(lock.waiters == 8, "{}", lock.waiters);
        ensure!(
            lock.holder.is_none(),
            "a condition variable is held: {:?}",
            lock.holder
        );
    }
    let released: Released = workload.go_to("truth")?;
    ensure!(released.woken == 8, "{released:?}");
    workload.finish()
}

/// Nobody waits: a snapshot with threads and no locks.
#[test]
fn of_a_process_where_nobody_waits() -> Result<()> {
    let workload = Workload::start(&build("many_locks.c", Build::Plain)?, &["1", "1"])?;
    let snapshot = holdup::snapshot(workload.pid())?;
    ensure!(snapshot.locks.is_empty(), "{:?}", snapshot.locks);
    ensure!(snapshot.threads.len() == 1, "{:?}", snapshot.threads);
    Ok(())
}

/// Of the whole machine: our process among all others.
#[test]
fn of_everybody() -> Result<()> {
    let mut workload = Workload::start(&build("primitives.c", Build::Plain)?, &["semaphore", "5"])?;
    let parked: Parked = workload.go_to("parked")?;
    let finished = holdup::run(&["snapshot", "--all", "--format", "json"])?;
    let snapshot = holdup_tests::report::Snapshot::parse(&finished.expect(0)?.text())?;
    let lock = snapshot.lock(workload.pid(), parked.address, "semaphore")?;
    ensure!(lock.waiters == 5, "{}", lock.waiters);
    Ok(())
}
