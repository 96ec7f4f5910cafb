//! What probes on every lock and unlock saw: what can go wrong first, then locks by what they cost.

use std::collections::HashMap;

use crate::{
    model::entry::{
        EntryLock, EntryReport, Mistake, Mode, OrderCheck, OrderEdge, PotentialDeadlock,
    },
    sink::{name, text, units},
};

use super::{
    Options, histogram, lock,
    page::{Page, Style},
    stack,
};

/// Potential deadlocks and mistakes shown; the rest are in the JSON document.
const SHOWN: usize = 5;
/// Frames of an edge's ends: a reader needs the line and who called.
const FRAMES: usize = 2;
/// Rows with all that is known of them.
const DETAILED: usize = 5;
/// Columns of the numbers at the right of a row.
const NUMBERS: usize = 40;

/// Writes the section; nothing when it was not asked for.
pub fn write(
    page: &mut Page,
    report: Option<&EntryReport>,
    comms: &HashMap<u32, &str>,
    options: &Options,
) {
    let Some(report) = report else { return };
    page.blank();
    page.line(&[("Every lock and unlock", Style::Bold)]);
    if let Some(price) = &report.price {
        let style = if price.detached_by_governor {
            Style::Alarm
        } else {
            Style::Dim
        };
        page.paragraph(&price.text, style);
    }
    for deadlock in report.potential_deadlocks.iter().take(SHOWN) {
        potential_deadlock(page, deadlock);
    }
    lock::left_to_json(
        page,
        report.potential_deadlocks.len(),
        SHOWN,
        "potential deadlocks",
    );
    page.paragraph(&checked(&report.order_check, report), Style::Dim);
    for mistake in report.mistakes.iter().take(SHOWN) {
        self::mistake(page, mistake);
    }
    lock::left_to_json(page, report.mistakes.len(), SHOWN, "mistakes");
    locks(page, report, comms, options);
}

fn potential_deadlock(page: &mut Page, deadlock: &PotentialDeadlock) {
    page.paragraph(
        &format!("potential deadlock: {}", deadlock.text),
        Style::Alarm,
    );
    let threads = units::plural(deadlock.threads, "thread", "threads");
    let times = units::plural(deadlock.count, "time", "times");
    let mut seen = format!("by {threads}, the rarest step {times}");
    if deadlock.alike > 0 {
        let alike = units::plural(deadlock.alike, "more circle", "more circles");
        seen.push_str(&format!("; {alike} of other locks at the same places"));
    }
    page.detail("seen", &seen, Style::Plain);
    for (number, edge) in deadlock.edges.iter().enumerate() {
        self::edge(page, number + 1, edge);
    }
    page.blank();
}

/// One step of a circle: who takes what at which place, and where it got what it holds.
fn edge(page: &mut Page, number: usize, edge: &OrderEdge) {
    let who = match edge.threads.as_slice() {
        [] => "a thread".to_owned(),
        [first, rest @ ..] => {
            let more = rest.len() as u64;
            let others = match (more, edge.more_threads) {
                (0, false) => String::new(),
                (_, true) => " and others".to_owned(),
                (more, false) => format!(" and {}", units::plural(more, "other", "others")),
            };
            format!("{} ({}){others}", first.comm, first.tid)
        }
    };
    let how = |mode| match mode {
        Mode::Exclusive => "",
        Mode::Shared => " for reading",
    };
    let takes = format!(
        "{who} takes {}{} at",
        edge.acquired.name,
        how(edge.acquired_mode)
    );
    page.detail(&format!("step {number}"), &takes, Style::Plain);
    stack::write(page, &edge.acquired_frames, FRAMES);
    let with = format!("with {}{}, taken at", edge.held.name, how(edge.held_mode));
    page.detail("", &with, Style::Plain);
    stack::write(page, &edge.held_frames, FRAMES);
}

/// `lock order: 12 pairs of 9 locks, 1 circle; not reported: 2 behind a gate lock`.
fn checked(check: &OrderCheck, report: &EntryReport) -> String {
    let OrderCheck {
        locks,
        edges,
        gated,
        one_thread,
        readers,
        unjudged,
        left_out,
        unsearched,
    } = *check;
    if edges == 0 && unjudged == 0 {
        return "lock order: no lock was taken while another one was held".to_owned();
    }
    let circles = report.potential_deadlocks.len() as u64 + left_out;
    let circles = match circles {
        0 => "no circle".to_owned(),
        circles => units::plural(circles, "circle", "circles"),
    };
    let pairs = units::plural(edges, "pair", "pairs");
    let mut line = format!(
        "lock order: {pairs} of {} locks, {circles}",
        units::count(locks)
    );
    let harmless = [
        (gated, "behind a gate lock"),
        (one_thread, "of one thread alone"),
        (readers, "of readers"),
    ];
    let harmless = harmless.iter().filter(|(count, _)| *count > 0);
    let harmless: Vec<String> = harmless
        .map(|(count, what)| format!("{} {what}", units::count(*count)))
        .collect();
    if !harmless.is_empty() {
        line.push_str(&format!("; harmless: {}", harmless.join(", ")));
    }
    if unjudged > 0 {
        let pairs = units::count(unjudged);
        line.push_str(&format!(
            "; {pairs} not judged, since their records were lost"
        ));
    }
    if unsearched > 0 {
        line.push_str(&format!(
            "; {} locks in tangles too large to search for long circles",
            units::count(unsearched)
        ));
    }
    line
}

fn mistake(page: &mut Page, mistake: &Mistake) {
    let times = match mistake.count {
        1 => String::new(),
        count => format!(" ({} times)", units::count(count)),
    };
    page.paragraph(&format!("mistake: {}{times}", mistake.text), Style::Alarm);
    if !mistake.frames.is_empty() {
        stack::write(page, &mistake.frames, FRAMES);
    }
}

/// Locks that a reader cannot tell apart, as one.
struct Group {
    lock: EntryLock,
    locks: u64,
}

/// Rows, those that can be held first; each in the order of the document.
fn groups(report: &EntryReport) -> Vec<Group> {
    let is_used = |lock: &&EntryLock| lock.acquisitions > 0 || lock.holder.is_some();
    let mut index_of = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for lock in report.locks.iter().filter(is_used) {
        let name = lock.symbol.as_ref().or(lock.site.as_ref());
        let address = if name.is_some() { 0 } else { lock.address };
        let key = (lock.pid, lock.kind, name, address);
        let index = *index_of.entry(key).or_insert(groups.len());
        if let Some(group) = groups.get_mut(index) {
            group.lock.add(lock);
            group.locks += 1;
        } else {
            groups.push(Group {
                lock: lock.clone(),
                locks: 1,
            });
        }
    }
    groups.sort_by_key(|group| !group.lock.kind.is_held());
    groups
}

const fn name_columns(page: &Page) -> usize {
    page.width() - lock::KIND - 1 - NUMBERS
}

fn locks(page: &mut Page, report: &EntryReport, comms: &HashMap<u32, &str>, options: &Options) {
    let groups = groups(report);
    if groups.is_empty() {
        page.paragraph("No lock was taken.", Style::Plain);
        return;
    }
    page.blank();
    let heading = format!(
        "{:<kind$} {:<name$}{:>8}{:>6}{:>9}{:>9}{:>8}",
        "KIND",
        "LOCK",
        "TAKEN",
        "CONT",
        "WAITED",
        "HELD",
        "LONGEST",
        kind = lock::KIND,
        name = name_columns(page),
    );
    page.line(&[(&heading, Style::Dim)]);
    let several = comms.len() > 1;
    for (index, group) in groups.iter().take(options.top).enumerate() {
        let comm = comms.get(&group.lock.pid).copied().filter(|_| several);
        row(page, group, comm);
        if index < DETAILED {
            details(page, &group.lock);
        } else {
            holder(page, &group.lock);
        }
    }
    let shown = groups.iter().take(options.top);
    let shown: u64 = shown.map(|group| group.locks).sum();
    let all = groups.iter().map(|group| group.locks).sum::<u64>() + report.locks_left_out;
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    lock::left_out(page, count(all), count(shown), "locks");
}

fn row(page: &mut Page, group: &Group, comm: Option<&str>) {
    let lock = &group.lock;
    let columns = name_columns(page);
    let comm = comm.map_or(String::new(), |comm| {
        format!("{}: ", text::truncate_middle(comm, 15))
    });
    let called = match (&lock.symbol, &lock.site) {
        (Some(name), _) | (None, Some(name)) => name.clone(),
        (None, None) => format!("{:#x}", lock.address),
    };
    let like = match group.locks {
        1 => String::new(),
        locks => format!(" ({} locks)", units::count(locks)),
    };
    let room = columns.saturating_sub(text::width(&comm) + like.len() + 1);
    let called = text::truncate_middle(&text::shorten_function(&called, room), room);
    let called = format!("{comm}{called}{like}");
    let duration = |ns| match lock.kind.is_held() {
        true => units::duration(ns),
        false => "-".to_owned(),
    };
    let numbers = format!(
        "{:>8}{:>6}{:>9}{:>9}{:>8}",
        units::count(lock.acquisitions),
        units::percent(lock.contended, lock.acquisitions),
        units::duration(lock.wait.total_ns),
        duration(lock.hold.total_ns),
        duration(lock.hold.max_ns),
    );
    page.line(&[
        (
            &text::left(lock.kind.as_str(), lock::KIND + 1),
            Style::Plain,
        ),
        (&text::left(&called, columns), Style::Bold),
        (&numbers, Style::Plain),
    ]);
}

fn details(page: &mut Page, lock: &EntryLock) {
    holder(page, lock);
    for (label, times) in [("waits", &lock.wait), ("holds", &lock.hold)] {
        if let Some(bars) = histogram::sparkline(&times.histogram) {
            let mean = times.total_ns.checked_div(times.count).unwrap_or_default();
            let line = format!("{bars}, mean {}", units::duration(mean));
            // Not wrapped, since empty buckets are spaces.
            page.line(&[
                (&text::left(&format!("  {label}"), 11), Style::Dim),
                (&line, Style::Plain),
            ]);
        }
    }
    if let Some(longest) = &lock.longest_hold {
        let line = format!(
            "{} by {} ({}){}",
            units::duration(longest.held_ns),
            longest.comm,
            longest.tid,
            from_to(lock)
        );
        page.detail("longest", &line, Style::Plain);
    }
    let refused = [
        (lock.failed_tries, "tries found it taken"),
        (lock.timeouts, "gave up after their time"),
        (lock.errors, "failed"),
    ];
    let refused = refused.iter().filter(|(count, _)| *count > 0);
    let refused: Vec<String> = refused
        .map(|(count, what)| format!("{} {what}", units::count(*count)))
        .collect();
    if !refused.is_empty() {
        page.detail("in vain", &refused.join(", "), Style::Plain);
    }
}

fn holder(page: &mut Page, lock: &EntryLock) {
    if let Some(holder) = &lock.holder {
        let at = holder.frames.is_empty();
        let at = if at { "" } else { ", from" };
        let line = format!(
            "{} ({}), for {}{at}",
            holder.comm,
            holder.tid,
            units::duration(holder.since_ns)
        );
        page.detail("held by", &line, Style::Bold);
        if !holder.frames.is_empty() {
            stack::write(page, &holder.frames, FRAMES);
        }
    }
    if lock.kind.is_held() && lock.users > 0 {
        let readers = units::plural(lock.users, "reader", "readers");
        page.detail("held by", &readers, Style::Plain);
    }
}

/// `, config.c:88 to config.c:99`.
fn from_to(lock: &EntryLock) -> String {
    let Some(longest) = &lock.longest_hold else {
        return String::new();
    };
    let place = |frames| stack::shown(frames).first().map(name::word);
    match (
        place(&longest.acquired_frames),
        place(&longest.released_frames),
    ) {
        (Some(from), Some(to)) => format!(", {from} to {to}"),
        (Some(from), None) => format!(", from {from}"),
        (None, Some(to)) => format!(", to {to}"),
        (None, None) => String::new(),
    }
}
