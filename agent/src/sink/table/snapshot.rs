//! The table of a moment.

use std::collections::{BTreeMap, HashMap};

use crate::{
    model::{Lock, Snapshot, snapshot::Thread},
    sink::{name, text, units},
};

use super::{
    Options, footer, goroutines, lock,
    page::{Page, Style},
    sites, stack,
    threads::{self, Group},
};

/// Columns of the numbers at the right of a row.
const NUMBERS: usize = 20;
/// Stacks shown under a lock.
const STACKS: usize = 5;

/// Lays a snapshot out. Locks come in the order of the document: what most threads wait
/// behind first.
#[must_use]
pub fn render(snapshot: &Snapshot, options: &Options) -> String {
    let mut page = Page::new(options);
    let comms: HashMap<u32, &str> = snapshot
        .processes
        .iter()
        .map(|process| (process.pid, process.comm.as_str()))
        .collect();
    let mut waiting: HashMap<(u32, u64), Vec<&Thread>> = HashMap::new();
    let mut by_tid: HashMap<u32, &Thread> = HashMap::new();
    for thread in &snapshot.threads {
        by_tid.insert(thread.tid, thread);
        if let Some(address) = thread.lock {
            waiting
                .entry((thread.pid, address))
                .or_default()
                .push(thread);
        }
    }
    let (locks, others): (Vec<&Lock>, Vec<&Lock>) = snapshot
        .locks
        .iter()
        .partition(|lock| lock::is_held_up(lock));
    header(&mut page, snapshot, &locks, &others);
    lock::deadlocks(&mut page, &snapshot.deadlocks);
    lock::roots(&mut page, &snapshot.root_blockers);
    if !locks.is_empty() {
        page.blank();
        heading(&mut page, "LOCK");
    }
    for lock in locks.iter().take(options.top) {
        let columns = name_columns(&page);
        let name = lock::short_name(lock, None, columns);
        row(
            &mut page,
            name::kind(lock.kind),
            &name,
            lock.waiters,
            &age(lock.oldest_wait_ns, lock.oldest_is_at_least),
        );
        lock::full_name(&mut page, lock, columns);
        lock::place(
            &mut page,
            lock,
            comms.get(&lock.pid).copied().unwrap_or("?"),
        );
        lock::holder(&mut page, lock);
        lock::why(&mut page, lock);
        if let Some(thread) = lock
            .holder
            .as_ref()
            .filter(|holder| holder.goid.is_none())
            .and_then(|holder| by_tid.get(&holder.tid))
        {
            holder_is(&mut page, thread, snapshot);
        }
        let threads = waiting
            .remove(&(lock.pid, lock.address))
            .unwrap_or_default();
        stacks(&mut page, lock, threads);
        page.blank();
    }
    lock::left_out(&mut page, locks.len(), options.top, "locks");
    not_locks(&mut page, &others, &comms, options.top);
    goroutines::write(&mut page, &snapshot.go, &comms, options.top);
    other_threads(&mut page, &snapshot.threads, &comms, options.top);
    footer::write(&mut page, &snapshot.loss, &snapshot.plan);
    page.finish()
}

fn header(page: &mut Page, snapshot: &Snapshot, locks: &[&Lock], others: &[&Lock]) {
    let who = match snapshot.processes.as_slice() {
        [] => "no process".to_owned(),
        [process] => format!("{} ({})", process.comm, process.pid),
        many => units::plural(many.len() as u64, "process", "processes"),
    };
    let threads = units::plural(snapshot.thread_count(), "thread", "threads");
    page.line(&[
        ("holdup snapshot: ", Style::Bold),
        (
            &format!("{who}, {threads}, at {}", snapshot.taken_at),
            Style::Plain,
        ),
    ]);
    let sum = |locks: &[&Lock]| {
        locks
            .iter()
            .fold(0_u64, |sum, lock| sum.saturating_add(lock.waiters))
    };
    let parked = units::count(sum(others));
    if locks.is_empty() {
        page.paragraph(
            &format!("No thread waits for a lock; {parked} in other futex waits."),
            Style::Plain,
        );
    } else {
        let verb = if sum(locks) == 1 { "waits" } else { "wait" };
        let waiting = format!(
            "{} {verb} for {}",
            waiters(locks),
            units::plural(locks.len() as u64, "lock", "locks"),
        );
        page.line(&[
            (&waiting, Style::Alarm),
            (&format!("; {parked} in other futex waits."), Style::Plain),
        ]);
    }
}

/// `8 threads and 1,300 goroutines`.
fn waiters(locks: &[&Lock]) -> String {
    let sum = |go: bool| {
        let locks = locks.iter().filter(|lock| lock.is_of_goroutines() == go);
        locks.fold(0_u64, |sum, lock| sum.saturating_add(lock.waiters))
    };
    let threads = units::plural(sum(false), "thread", "threads");
    let goroutines = units::plural(sum(true), "goroutine", "goroutines");
    match (sum(false), sum(true)) {
        (_, 0) => threads,
        (0, _) => goroutines,
        _ => format!("{threads} and {goroutines}"),
    }
}

const fn name_columns(page: &Page) -> usize {
    page.width() - lock::KIND - 1 - NUMBERS
}

fn heading(page: &mut Page, what: &str) {
    let line = format!(
        "{:<kind$} {what:<name$}{:>10}{:>10}",
        "KIND",
        "WAITING",
        "OLDEST",
        kind = lock::KIND,
        name = name_columns(page),
    );
    page.line(&[(&line, Style::Dim)]);
}

fn row(page: &mut Page, kind: &str, name: &str, waiters: u64, oldest: &str) {
    page.line(&[
        (&text::left(kind, lock::KIND + 1), Style::Plain),
        (&text::left(name, name_columns(page)), Style::Bold),
        (&text::right(&units::count(waiters), 10), Style::Alarm),
        (&text::right(oldest, 10), Style::Plain),
    ]);
}

/// `1h 02m`, `>1h 02m` when it is at least that, `?` when it is not known.
fn age(ns: Option<u64>, is_at_least: bool) -> String {
    match ns {
        Some(ns) if is_at_least => format!(">{}", units::duration(ns)),
        Some(ns) => units::duration(ns),
        None => "?".to_owned(),
    }
}

/// What the holder itself is blocked on, and where.
fn holder_is(page: &mut Page, holder: &Thread, snapshot: &Snapshot) {
    let mut doing = threads::doing(holder, holder.since_ns, 1);
    let own = |lock: &&Lock| lock.pid == holder.pid && Some(lock.address) == holder.lock;
    if let Some(lock) = snapshot.locks.iter().find(own) {
        let columns = page.detail_width().saturating_sub(text::width(&doing) + 30);
        let name = lock::short_name(lock, None, columns.max(20));
        doing.push_str(&format!(", waiting for {} {name}", name::kind(lock.kind)));
    }
    page.detail("which is", &doing, Style::Bold);
    if !holder.frames.is_empty() {
        stack::write(page, &holder.frames, 4);
    }
}

/// Stacks of those who wait: the threads themselves where they are in the document, else the lock's sites.
fn stacks(page: &mut Page, lock: &Lock, threads: Vec<&Thread>) {
    let groups = threads::group(threads);
    for (index, group) in groups.iter().take(STACKS).enumerate() {
        let age = match group.oldest_ns {
            Some(ns) => format!(", the oldest for {}", units::duration(ns)),
            None => String::new(),
        };
        let who = group.who(page.detail_width().saturating_sub(30));
        page.detail(
            &units::count(group.count),
            &format!("{who}{age}"),
            Style::Plain,
        );
        stack::write(page, &group.first.frames, frames_shown(index));
    }
    if groups.is_empty() {
        for (index, site) in sites::merge(&lock.sites).iter().take(STACKS).enumerate() {
            page.detail(&units::count(site.waiters), "waiting", Style::Plain);
            stack::write(page, site.frames, frames_shown(index));
        }
    }
    if let Some(more @ 1..) = groups.len().checked_sub(STACKS) {
        page.detail(
            "",
            &format!("({} more)", units::plural(more as u64, "stack", "stacks")),
            Style::Dim,
        );
    }
}

const fn frames_shown(index: usize) -> usize {
    if index == 0 { 8 } else { 4 }
}

/// Condition variables, idle workers and the like: one row for all that wait at the same place.
fn not_locks(page: &mut Page, others: &[&Lock], comms: &HashMap<u32, &str>, top: usize) {
    if others.is_empty() {
        return;
    }
    let several = comms.len() > 1;
    let mut rows: BTreeMap<(&str, String), (u64, Option<u64>)> = BTreeMap::new();
    for lock in others {
        let comm = comms.get(&lock.pid).copied().filter(|_| several);
        let name = lock::short_name(lock, comm, name_columns(page));
        let (waiters, oldest) = rows.entry((name::kind(lock.kind), name)).or_default();
        *waiters = waiters.saturating_add(lock.waiters);
        *oldest = (*oldest).max(lock.oldest_wait_ns);
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|&(_, (waiters, _))| std::cmp::Reverse(waiters));
    page.blank();
    page.line(&[(
        "Waits that are not for locks (condvar, barrier, join, idle, runtime)",
        Style::Bold,
    )]);
    heading(page, "WHERE");
    for ((kind, name), (waiters, oldest)) in rows.iter().take(top) {
        row(page, kind, name, *waiters, &age(*oldest, false));
    }
    lock::left_out(page, rows.len(), top, "rows");
    page.blank();
}

fn other_threads(page: &mut Page, threads: &[Thread], comms: &HashMap<u32, &str>, top: usize) {
    let several = comms.len() > 1;
    let groups: Vec<Group<'_>> =
        threads::group(threads.iter().filter(|thread| thread.lock.is_none()));
    if groups.is_empty() {
        return;
    }
    page.blank();
    page.line(&[("Other threads", Style::Bold)]);
    for group in groups.iter().take(top) {
        let mut doing = group.doing();
        if let Some(comm) = comms.get(&group.first.pid)
            && several
            && **comm != group.first.comm
        {
            doing = format!("{doing}, in {}", text::truncate_middle(comm, 15));
        }
        // A line more costs less than a name that cannot be read.
        let room = page.detail_width().saturating_sub(text::width(&doing) + 2);
        let room = room.max(40);
        let who = text::left(&group.who(room), room);
        page.detail(
            &units::count(group.count),
            &format!("{}: {doing}", who.trim_end()),
            Style::Plain,
        );
        if !group.first.frames.is_empty() {
            stack::write(page, &group.first.frames, 3);
        }
    }
    lock::left_out(page, groups.len(), top, "groups");
}
