//! The table of a recording.

use std::collections::{BTreeMap, HashMap};

use crate::{
    model::{Capture, Lock, Outcomes},
    sink::{name, text, units},
};

use super::{
    Options, entry, footer, goroutines,
    group::{self, Group},
    histogram, lock,
    page::{Page, Style},
    sites::{self, Path},
    stack,
};

/// Columns of the numbers at the right of a row.
const NUMBERS: usize = 39;
/// Sites shown under a lock.
const SITES: usize = 3;

/// Lays a recording out. Locks come in the order of the document: most total wait first.
#[must_use]
pub fn render(capture: &Capture, options: &Options) -> String {
    let mut page = Page::new(options);
    let comms: HashMap<u32, &str> = capture
        .processes
        .iter()
        .map(|process| (process.pid, process.comm.as_str()))
        .collect();
    let waited_for = capture
        .locks
        .iter()
        .filter(|lock| lock::was_waited_for(lock));
    let (locks, others): (Vec<&Lock>, Vec<&Lock>) =
        waited_for.partition(|lock| lock::is_held_up(lock));
    header(&mut page, capture, &locks);
    lock::deadlocks(&mut page, &capture.deadlocks);
    lock::roots(&mut page, &capture.root_blockers);
    entry::write(&mut page, capture.entry.as_deref(), &comms, options);
    if !locks.is_empty() {
        page.blank();
        heading(&mut page, "LOCK", "PEAK");
    }
    let groups = group::alike(&locks, &comms);
    for group in groups.iter().take(options.top) {
        let numbers = Row::of(&group.lock, &page);
        row(&mut page, &numbers);
        details(&mut page, group);
        page.blank();
    }
    let shown = groups.iter().take(options.top);
    let shown: usize = shown.map(|group| group.locks).sum();
    lock::left_out(&mut page, locks.len(), shown, "locks");
    not_locks(&mut page, &others, &comms, options.top);
    goroutines::write(&mut page, &capture.go, &comms, options.top);
    footer::write(&mut page, &capture.loss, &capture.plan);
    page.finish()
}

fn header(page: &mut Page, capture: &Capture, locks: &[&Lock]) {
    let sum = |field: fn(&Lock) -> u64| {
        locks
            .iter()
            .fold(0_u64, |sum, lock| sum.saturating_add(field(lock)))
    };
    let parked = capture
        .processes
        .iter()
        .flat_map(|process| process.parked.values())
        .fold(0_u64, |sum, &n| sum.saturating_add(n));
    let who = match capture.processes.as_slice() {
        [] => "no process waited".to_owned(),
        [process] => format!("{} ({})", process.comm, process.pid),
        many => units::plural(many.len() as u64, "process", "processes"),
    };
    let duration = units::duration(capture.duration_ns);
    page.line(&[
        ("holdup record: ", Style::Bold),
        (
            &format!("{who}, {duration} from {}", capture.started_at),
            Style::Plain,
        ),
    ]);
    if locks.is_empty() {
        page.paragraph("No thread waited for a lock.", Style::Plain);
    } else {
        let locks_text = units::plural(locks.len() as u64, "lock", "locks");
        let waits = units::plural(sum(|lock| lock.waits), "wait", "waits");
        let total = units::duration(sum(|lock| lock.wait_ns.total));
        let now = sum(|lock| lock.waiters);
        let spent = format!(
            "{locks_text}: {waits} took {total}; {} waiting now",
            units::count(now)
        );
        page.line(&[
            (&spent, Style::Plain),
            (
                &format!(" ({} parked in all)", units::count(parked)),
                Style::Dim,
            ),
        ]);
    }
}

/// Numbers of one row.
struct Row {
    kind: &'static str,
    name: String,
    waits: u64,
    now: u64,
    third: u64,
    total: u64,
    max: u64,
}

impl Row {
    fn of(lock: &Lock, page: &Page) -> Self {
        Self {
            kind: name::kind(lock.kind),
            name: lock::short_name(lock, None, name_columns(page)),
            waits: lock.waits,
            now: lock.waiters,
            third: lock.waiters_peak,
            total: lock.wait_ns.total,
            max: longest(lock),
        }
    }
}

/// Longest wait, finished or going on.
fn longest(lock: &Lock) -> u64 {
    lock.wait_ns.max.max(lock.oldest_wait_ns.unwrap_or(0))
}

const fn name_columns(page: &Page) -> usize {
    page.width() - lock::KIND - 1 - NUMBERS
}

fn heading(page: &mut Page, what: &str, third: &str) {
    let line = format!(
        "{:<kind$} {:<name$}{:>8}{:>7}{third:>7}{:>9}{:>8}",
        "KIND",
        what,
        "WAITS",
        "NOW",
        "TOTAL",
        "MAX",
        kind = lock::KIND,
        name = name_columns(page),
    );
    page.line(&[(&line, Style::Dim)]);
}

fn row(page: &mut Page, row: &Row) {
    let kind = text::left(row.kind, lock::KIND + 1);
    let name = text::left(&row.name, name_columns(page));
    let now = text::right(&units::count(row.now), 7);
    let alarm = if row.now > 0 {
        Style::Alarm
    } else {
        Style::Plain
    };
    // "0 ns" would read as good news where no wait has ever finished.
    let total = match row.waits {
        0 => "-".to_owned(),
        _ => units::duration(row.total),
    };
    let times = format!(
        "{:>7}{:>9}{:>8}",
        units::count(row.third),
        total,
        units::duration(row.max)
    );
    page.line(&[
        (&kind, Style::Plain),
        (&name, Style::Bold),
        (&text::right(&units::count(row.waits), 8), Style::Plain),
        (&now, alarm),
        (&times, Style::Plain),
    ]);
}

fn details(page: &mut Page, group: &Group<'_>) {
    let lock: &Lock = &group.lock;
    lock::full_name(page, lock, name_columns(page));
    group.place(page);
    if lock.waiters > 0 {
        let handoff = match lock.last_handoff_ns {
            Some(ns) => format!("last hand-off {} ago", units::duration(ns)),
            None => "no hand-off seen".to_owned(),
        };
        let waiters = units::count(lock.waiters);
        let now = format!(
            "{waiters} waiting, the oldest {}; {handoff}",
            lock::age(lock)
        );
        page.detail("now", &now, Style::Plain);
    }
    lock::holder(page, lock);
    lock::why(page, lock);
    if let Some(bars) = histogram::sparkline(&lock.histogram) {
        let mean = lock.wait_ns.total.checked_div(lock.waits);
        let mean = mean.map_or(String::new(), |ns| {
            format!(", mean {}", units::duration(ns))
        });
        // Not wrapped, since empty buckets are spaces.
        page.line(&[
            ("  waits    ", Style::Dim),
            (&format!("{bars}{mean}"), Style::Plain),
        ]);
    }
    lock::measured(page, lock);
    if let Some(ended) = outcomes(&lock.outcomes) {
        page.detail("ended", &ended, Style::Plain);
    }
    let paths = sites::merge(&lock.sites);
    for (index, site) in paths.iter().take(SITES).enumerate() {
        let label = share(site, lock);
        let mut seen = Vec::new();
        if site.waits > 0 || site.waiters == 0 {
            seen.push(format!(
                "{}, {}",
                units::plural(site.waits, "wait", "waits"),
                units::duration(site.wait_ns)
            ));
        }
        if site.waiters > 0 {
            seen.push(format!("{} waiting now", units::count(site.waiters)));
        }
        page.detail(&label, &seen.join(", "), Style::Plain);
        let above = paths.get(..index).unwrap_or_default();
        let frames = if index == 0 {
            sites::FRAMES
        } else {
            sites::frames_to_show(site, above)
        };
        stack::write(page, site.frames, frames);
    }
    if let Some(more @ 1..) = paths.len().checked_sub(SITES) {
        page.detail(
            "",
            &format!(
                "({} more)",
                units::plural(more as u64, "call path", "call paths")
            ),
            Style::Dim,
        );
    }
}

/// How waits ended, unless all were woken.
fn outcomes(outcomes: &Outcomes) -> Option<String> {
    let Outcomes {
        woken,
        timed_out,
        interrupted,
        error,
    } = *outcomes;
    let parts = [
        (woken, "woken"),
        (timed_out, "timed out"),
        (interrupted, "interrupted"),
        (error, "failed"),
    ];
    let any_other = parts.iter().skip(1).any(|&(n, _)| n > 0);
    let seen = parts.iter().filter(|&&(n, _)| n > 0);
    let seen: Vec<_> = seen
        .map(|&(n, how)| format!("{} {how}", units::count(n)))
        .collect();
    any_other.then(|| seen.join(", "))
}

/// Share of the lock's waits; of those who wait now when none has finished.
fn share(site: &Path<'_>, lock: &Lock) -> String {
    if lock.waits > 0 {
        units::percent(site.waits, lock.waits)
    } else {
        units::percent(site.waiters, lock.waiters)
    }
}

/// Condition variables, idle workers and the like, in short form: one row for all that wait at the same place.
fn not_locks(page: &mut Page, others: &[&Lock], comms: &HashMap<u32, &str>, top: usize) {
    if others.is_empty() {
        return;
    }
    let several = comms.len() > 1;
    let mut rows: BTreeMap<(&str, String), Row> = BTreeMap::new();
    for lock in others {
        let comm = comms.get(&lock.pid).copied().filter(|_| several);
        let name = lock::short_name(lock, comm, name_columns(page));
        let kind = name::kind(lock.kind);
        let row = rows.entry((kind, name.clone())).or_insert(Row {
            kind,
            name,
            waits: 0,
            now: 0,
            third: 0,
            total: 0,
            max: 0,
        });
        row.waits = row.waits.saturating_add(lock.waits);
        row.now = row.now.saturating_add(lock.waiters);
        row.third += 1;
        row.total = row.total.saturating_add(lock.wait_ns.total);
        row.max = row.max.max(longest(lock));
    }
    let mut rows: Vec<Row> = rows.into_values().collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.total, row.now)));
    page.blank();
    page.line(&[(
        "Waits that are not for locks (condvar, barrier, join, idle, runtime)",
        Style::Bold,
    )]);
    heading(page, "WHERE", "OBJS");
    for short in rows.iter().take(top) {
        row(page, short);
    }
    lock::left_out(page, rows.len(), top, "rows");
    page.blank();
}
