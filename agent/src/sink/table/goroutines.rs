//! Goroutines of processes written in Go: how many, waiting for what, and where most of them are.

use std::{cmp::Reverse, collections::HashMap};

use crate::{
    model::{GoProcess, go::Group},
    sink::{name, text, units},
};

use super::{
    lock,
    page::{Page, Style},
    stack,
};

/// Reasons named in the first line.
const REASONS: usize = 4;
/// Frames of a group.
const FRAMES: usize = 4;

/// Writes a section for each process.
pub fn write(page: &mut Page, processes: &[GoProcess], comms: &HashMap<u32, &str>, top: usize) {
    for process in processes {
        page.blank();
        let comm = comms.get(&process.pid).copied().unwrap_or("?");
        page.line(&[
            ("Goroutines", Style::Bold),
            (
                &format!(" of {comm} ({}), {}", process.pid, process.version),
                Style::Plain,
            ),
        ]);
        page.paragraph(&summary(process), Style::Plain);
        for group in process.groups.iter().take(top) {
            self::group(page, group);
        }
        let groups = process.groups.len() as u64 + process.groups_left_out;
        lock::left_out(
            page,
            usize::try_from(groups).unwrap_or(usize::MAX),
            top,
            "groups",
        );
    }
}

/// `1,303 goroutines: 1,000 sync.RWMutex.RLock, 300 sync.Mutex.Lock, 2 IO wait`.
fn summary(process: &GoProcess) -> String {
    if let Some(error) = &process.error {
        return format!("not read: {error}");
    }
    let goroutines = &process.goroutines;
    let reasons = goroutines.by_reason.iter();
    let others = goroutines
        .by_status
        .iter()
        .filter(|(status, _)| *status != "waiting");
    let mut counts: Vec<(&String, &u64)> = reasons.chain(others).collect();
    counts.sort_by_key(|(word, count)| (Reverse(**count), *word));
    let named: Vec<String> = counts
        .iter()
        .take(REASONS)
        .map(|(word, count)| format!("{} {word}", units::count(**count)))
        .collect();
    let more = counts.iter().skip(REASONS).map(|(_, count)| **count).sum();
    let mut line = units::plural(goroutines.total, "goroutine", "goroutines");
    if !named.is_empty() {
        line = format!("{line}: {}", named.join(", "));
    }
    for (count, what) in [
        (more, "others"),
        (process.torn_reads, "changed while they were read"),
        (process.stacks_left_out, "without stacks"),
    ] {
        if count > 0 {
            line.push_str(&format!(", {} {what}", units::count(count)));
        }
    }
    line
}

fn group(page: &mut Page, group: &Group) {
    let mut what = group.reason.clone().unwrap_or_else(|| group.state.clone());
    if !group.detail.is_empty() {
        what.push_str(&format!(", {}", group.detail));
    } else if let (Some(address), Some(kind)) = (group.lock, group.kind) {
        what.push_str(&format!(", {} {address:#x}", name::kind(kind)));
    }
    if let Some(ns) = group.oldest_ns {
        what.push_str(&format!(", >{}", units::duration(ns)));
    }
    if let [goid] = group.goids.as_slice() {
        what = format!("goroutine {goid}: {what}");
    }
    page.detail(
        &units::count(group.count),
        &text::sanitise(&what),
        Style::Plain,
    );
    if !group.frames.is_empty() {
        stack::write(page, &group.frames, FRAMES);
    }
}
