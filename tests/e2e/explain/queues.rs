//! Ten thousand waiters on fifty locks: who is the cause, of how much.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Workload,
    heartbeat::Heart,
    holdup,
    report::{Explanation, parse_address},
    toolchain::{Build, build},
};
use serde::Deserialize;

/// What `queues.c` says of itself.
#[derive(Deserialize)]
struct HeldUp {
    #[serde(flatten)]
    heart: Heart,
    rows: Vec<Row>,
}

/// Locks in a row: the owner of each waits for the one before, that of the first for nobody.
#[derive(Deserialize)]
struct Row {
    root: u32,
    locks: Vec<Held>,
}

#[derive(Deserialize)]
struct Held {
    address: String,
    holder: u32,
}

/// Threads that wait for each lock.
const EACH: u64 = 200;
/// Locks in each row. No two are the same, so that there is one right order.
const ROWS: [u64; 8] = [2, 3, 4, 5, 6, 7, 8, 15];

#[test]
fn ten_thousand_waiters_on_fifty_locks() -> Result<()> {
    let program = build("queues.c", Build::Plain)?;
    let rows: Vec<String> = [EACH].iter().chain(&ROWS).map(u64::to_string).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let mut workload = Workload::start(&program, &rows)?;
    let truth: HeldUp = workload.go_to("held_up")?;
    let snapshot = holdup::snapshot(workload.pid())?;

    ensure!(snapshot.locks.len() == 50, "{} locks", snapshot.locks.len());
    let waiters: u64 = snapshot.locks.iter().map(|lock| lock.waiters).sum();
    ensure!(waiters == 10_000, "{waiters} waiters");
    ensure!(snapshot.deadlocks.is_empty(), "{:?}", snapshot.deadlocks);

    // The root with most behind it comes first.
    let mut ranked: Vec<&Row> = truth.rows.iter().collect();
    ranked.sort_by_key(|row| std::cmp::Reverse(row.locks.len()));
    ensure!(
        snapshot.root_blockers.len() == ranked.len(),
        "{:?}",
        snapshot.root_blockers
    );
    for (found, row) in snapshot.root_blockers.iter().zip(&ranked) {
        let length = u64::try_from(row.locks.len())?;
        ensure!(
            found.root.is_thread(row.root)
                && found.waiters_total == EACH * length
                && !found.waiters_is_at_least
                && found.progress == "stuck"
                && u64::try_from(found.locks.len())? + found.locks_left_out == length,
            "{found:?} is not the root of {length} locks, {}",
            row.root
        );
    }

    // And so do its locks, the one that it holds itself at their head.
    let first = ranked.first().context("no rows")?;
    for (found, lock) in snapshot.locks.iter().zip(&first.locks) {
        ensure!(
            found.address == parse_address(&lock.address)?,
            "{found:?} comes before {}",
            lock.address
        );
    }

    let mut of_lock: BTreeMap<u64, &Explanation> = BTreeMap::new();
    for lock in &snapshot.locks {
        ensure!(lock.waiters == EACH, "{lock:?}");
        let explanation = lock.explanation.as_ref().context("no explanation")?;
        of_lock.insert(lock.address, explanation);
    }
    for row in &truth.rows {
        check_row(row, &of_lock)?;
    }

    truth.heart.end(workload)
}

/// Every lock of a row leads to its root, through all owners on the way.
fn check_row(row: &Row, of_lock: &BTreeMap<u64, &Explanation>) -> Result<()> {
    let length = u64::try_from(row.locks.len())?;
    for (place, lock) in row.locks.iter().enumerate() {
        let address = parse_address(&lock.address)?;
        let explanation = of_lock.get(&address).context("a lock is missing")?;
        ensure!(
            explanation.root.is_thread(row.root)
                && explanation.waiters_total == EACH * length
                && explanation.confidence == "exact"
                && explanation.progress == "stuck",
            "{explanation:?}"
        );
        // A hold and a wait for each lock on the way, and the hold of the first.
        let links = u64::try_from(explanation.chain.len())? + explanation.chain_left_out;
        ensure!(links == u64::try_from(2 * place + 1)?, "{explanation:?}");
        let holders = row
            .locks
            .iter()
            .take(place + 1)
            .rev()
            .map(|lock| lock.holder);
        let holds = explanation
            .chain
            .iter()
            .filter(|link| link.kind == "held_by");
        ensure!(
            holds
                .zip(holders)
                .all(|(hold, holder)| hold.to.is_thread(holder)),
            "{explanation:?}"
        );
    }
    Ok(())
}
