//! Deadlocks that never happened: the workload's threads take their locks one after the other, so that nobody ever waits.

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    report::{Capture, Entry, OrderCheck, PotentialDeadlock, names},
    toolchain::{Build, build},
};

use super::scene::{Truth, entry, place, record, record_program};

const PAIRS: &str = "entry_order_pairs.c";

fn pairs(mode: &str) -> Result<(Capture, Truth)> {
    record(PAIRS, mode)
}

fn only(entry: &Entry) -> Result<&PotentialDeadlock> {
    let [deadlock] = entry.potential_deadlocks.as_slice() else {
        anyhow::bail!("wanted one circle: {entry:#?}");
    };
    Ok(deadlock)
}

/// Runs a mode that must have one circle, and checks its text: `steps` are its pairs of locks, in the order of the
/// truth's lines.
fn finds(mode: &str, steps: &[&str]) -> Result<(Entry, Truth)> {
    let (capture, truth) = pairs(mode)?;
    let entry = entry(&capture)?.clone();
    let deadlock = only(&entry)?;
    let mut texts = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        texts.push(format!("{step} at {}", place(PAIRS, &truth, index)?));
    }
    // It may begin anywhere.
    let rotations = (0..texts.len()).map(|_| {
        texts.rotate_left(1);
        texts.join(", ")
    });
    let rotations: Vec<String> = rotations.collect();
    ensure!(
        rotations.contains(&deadlock.text),
        "{mode}: {:?}, wanted one of {rotations:?}",
        deadlock.text
    );
    Ok((entry, truth))
}

/// Runs a mode that must have none, of which each lock was taken `times` and more.
fn finds_nothing(mode: &str) -> Result<Entry> {
    let (capture, _) = pairs(mode)?;
    let entry = entry(&capture)?.clone();
    ensure!(
        entry.potential_deadlocks.is_empty(),
        "{mode}: {:#?}",
        entry.potential_deadlocks
    );
    ensure!(!entry.order.is_empty(), "{mode}: no order was seen");
    Ok(entry)
}

/// A graph of so many locks and pairs, with nothing to say besides.
const fn plain(locks: u64, edges: u64) -> OrderCheck {
    OrderCheck {
        locks,
        edges,
        gated: 0,
        one_thread: 0,
        readers: 0,
        unjudged: 0,
        left_out: 0,
        unsearched: 0,
    }
}

#[test]
fn both_orders_of_two_locks_are_told_with_both_lines() -> Result<()> {
    let (entry, truth) = finds("abba", &["lock_a then lock_b", "lock_b then lock_a"])?;
    let deadlock = only(&entry)?;
    ensure!(
        (deadlock.count, deadlock.threads, deadlock.alike) == (1, 2, 0),
        "{deadlock:?}"
    );
    for edge in &deadlock.edges {
        let first = edge.held.name == "lock_a";
        let (tid, function) = match first {
            true => (truth.tids[0], "app_a_then_b"),
            false => (truth.tids[1], "app_b_then_a"),
        };
        let [thread] = edge.threads.as_slice() else {
            anyhow::bail!("{:?}", edge.threads);
        };
        ensure!(
            thread.tid == tid && !thread.comm.is_empty(),
            "{thread:?}, wanted {tid}"
        );
        ensure!(
            names(&edge.acquired_frames, function),
            "{:?}",
            edge.acquired_frames
        );
        ensure!(names(&edge.held_frames, function), "{:?}", edge.held_frames);
        // The lock that is held was taken one line before.
        let index = usize::from(!first);
        let taken = edge.held_frames.iter().find(|frame| frame.line.is_some());
        let line = taken.and_then(|frame| frame.line);
        ensure!(line == Some(truth.lines[index] - 1), "taken at {line:?}");
        ensure!(edge.gates.is_empty() && !edge.more_threads, "{edge:?}");
    }
    ensure!(entry.order_check == plain(2, 2), "{:?}", entry.order_check);
    Ok(())
}

#[test]
fn a_ring_of_three_is_told_once() -> Result<()> {
    let steps = [
        "lock_a then lock_b",
        "lock_b then lock_c",
        "lock_c then lock_a",
    ];
    let (entry, _) = finds("ring", &steps)?;
    ensure!(entry.order_check == plain(3, 3), "{:?}", entry.order_check);
    Ok(())
}

#[test]
fn a_gate_lock_keeps_them_apart() -> Result<()> {
    let entry = finds_nothing("gated")?;
    ensure!(entry.order_check.gated == 1, "{:?}", entry.order_check);
    Ok(())
}

/// The same, and once a thread comes without the gate.
#[test]
fn a_gate_that_one_does_not_use_keeps_nobody_apart() -> Result<()> {
    finds(
        "once_without_gate",
        &["lock_a then lock_b", "lock_b then lock_a"],
    )?;
    Ok(())
}

#[test]
fn who_tries_and_backs_off_waits_for_nobody() -> Result<()> {
    let entry = finds_nothing("back_off")?;
    let tried = entry.order.iter().filter(|edge| edge.trylock).count();
    ensure!(tried == 2, "{:?}", entry.order);
    Ok(())
}

#[test]
fn what_was_got_by_trying_is_held() -> Result<()> {
    finds(
        "got_by_trying",
        &["lock_a then lock_b", "lock_b then lock_a"],
    )?;
    Ok(())
}

#[test]
fn who_gives_up_after_a_time_waits_until_then() -> Result<()> {
    let steps = ["lock_a then lock_b", "lock_b then lock_a for a time"];
    let (entry, _) = finds("for_a_time", &steps)?;
    let timed = only(&entry)?.edges.iter().filter(|edge| edge.timed).count();
    ensure!(timed == 1, "{entry:?}");
    Ok(())
}

#[test]
fn readers_do_not_wait_for_readers() -> Result<()> {
    let entry = finds_nothing("readers")?;
    ensure!(entry.order_check.readers == 1, "{:?}", entry.order_check);
    Ok(())
}

#[test]
fn a_reader_and_a_writer_wait_for_each_other() -> Result<()> {
    finds(
        "reader_and_writer",
        &["table (read) then lock_a", "lock_a then table"],
    )?;
    Ok(())
}

/// Where writers go first, a reader waits behind a writer that waits for a reader.
#[test]
fn readers_in_line_wait_for_readers() -> Result<()> {
    finds(
        "readers_in_line",
        &["table (read) then lock_a", "lock_a then table (read)"],
    )?;
    Ok(())
}

#[test]
fn who_takes_again_what_it_holds_does_not_wait() -> Result<()> {
    let entry = finds_nothing("recursion")?;
    let lock = entry.lock("recursive")?;
    ensure!((lock.acquisitions, lock.repeated) == (3, 1), "{lock:?}");
    Ok(())
}

#[test]
fn a_lock_that_was_destroyed_is_not_the_one_made_after_it() -> Result<()> {
    let entry = finds_nothing("reuse")?;
    let here = entry.locks.iter();
    let here = here.filter(|lock| lock.symbol.as_deref() == Some("reused"));
    let mut lives: Vec<_> = here
        .map(|lock| (lock.generation, lock.destroyed, lock.acquisitions))
        .collect();
    lives.sort_unstable();
    ensure!(lives == [(0, true, 1), (1, false, 1)], "{lives:?}");
    // The same without the end in between.
    let (capture, _) = pairs("no_reuse")?;
    only(super::scene::entry(&capture)?)?;
    Ok(())
}

#[test]
fn one_thread_does_not_wait_for_itself_and_another_does() -> Result<()> {
    let entry = finds_nothing("one_thread")?;
    ensure!(entry.order_check.one_thread == 1, "{:?}", entry.order_check);
    let (entry, truth) = finds(
        "another_thread",
        &["lock_a then lock_b", "lock_b then lock_a"],
    )?;
    let back = only(&entry)?
        .edges
        .iter()
        .find(|edge| edge.held.name == "lock_b");
    let back = back.context("no way back")?;
    let mut tids: Vec<u32> = back.threads.iter().map(|thread| thread.tid).collect();
    let mut wanted = truth.tids[1..].to_vec();
    tids.sort_unstable();
    wanted.sort_unstable();
    ensure!(
        back.count == 2 && tids == wanted,
        "{back:?}, wanted {wanted:?}"
    );
    Ok(())
}

/// Along a list and down a tree, by four threads: each pair of instances has an order.
#[test]
fn a_hierarchy_has_no_circle() -> Result<()> {
    let entry = finds_nothing("hierarchy")?;
    ensure!(entry.order_check.locks == 40, "{:?}", entry.order_check);
    ensure!(entry.order_check.unsearched == 0, "{:?}", entry.order_check);
    let is_node = |name: &String| name.starts_with("nodes");
    let nodes = entry.locks.iter();
    let nodes = nodes.filter(|lock| lock.symbol.as_ref().is_some_and(is_node));
    let taken: u64 = nodes.map(|lock| lock.acquisitions).sum();
    // Twice along, and twice down all that have two children and those.
    ensure!(taken == 2 * 40 + 2 * 39, "{taken} acquisitions");
    Ok(())
}

#[test]
fn guards_of_the_cpp_library_are_told_by_their_lines() -> Result<()> {
    const SOURCE: &str = "entry_order_standard.cpp";
    let (capture, truth): (_, Truth) = record(SOURCE, "guards")?;
    let deadlock = only(entry(&capture)?)?;
    for (index, function) in ["app::Bank::deposit", "app::Bank::audit"]
        .iter()
        .enumerate()
    {
        let at = format!(" at {}", place(SOURCE, &truth, index)?);
        ensure!(deadlock.text.contains(&at), "no {at}: {}", deadlock.text);
        let mut edges = deadlock.edges.iter();
        ensure!(
            edges.any(|edge| names(&edge.acquired_frames, function)),
            "{deadlock:?}"
        );
    }
    // std::scoped_lock tries and backs off.
    let (capture, _): (_, Truth) = record(SOURCE, "scoped")?;
    let entry = entry(&capture)?;
    ensure!(
        entry.potential_deadlocks.is_empty() && entry.order.iter().all(|edge| edge.trylock),
        "{entry:#?}"
    );
    Ok(())
}

#[test]
fn a_rust_program_with_pthread_locks_has_its_circle_told() -> Result<()> {
    let (capture, _): (_, Truth) = record("entry_order_pthread.rs", "")?;
    let deadlock = only(entry(&capture)?)?;
    for function in ["app::deposit", "app::audit"] {
        let mut edges = deadlock.edges.iter();
        ensure!(
            edges.any(|edge| names(&edge.acquired_frames, function)),
            "no {function}: {deadlock:?}"
        );
    }
    ensure!(
        deadlock.text.contains("ACCOUNTS then") && deadlock.text.contains("JOURNAL then"),
        "{}",
        deadlock.text
    );
    ensure!(
        deadlock.text.matches("entry_order_pthread.rs:").count() == 2,
        "{}",
        deadlock.text
    );
    Ok(())
}

/// A static program has no libc.so to be probed, and musl's locks are its own.
#[test]
fn programs_that_are_linked_statically_have_their_circle_told() -> Result<()> {
    for how in [Build::Musl, Build::StaticPie] {
        let program = build(PAIRS, how)?;
        let (capture, truth): (_, Truth) = record_program(&program, "abba")?;
        let deadlock = only(entry(&capture)?).with_context(|| format!("{how:?}"))?;
        for index in 0..2 {
            let at = place(PAIRS, &truth, index)?;
            ensure!(deadlock.text.contains(&at), "{how:?}: {}", deadlock.text);
        }
    }
    Ok(())
}
