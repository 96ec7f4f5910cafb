//! One section per lock.

use super::{View, anchor, chain, histogram, markup::Html, stack, summary};
use crate::{
    model::{Lock, snapshot::Thread},
    sink::{hold, name, table, text, units},
};

/// Most locks with a section of their own.
pub const MAX_LOCKS: usize = 50;
/// Most call paths of a lock.
const MAX_PATHS: usize = 8;

pub fn write_all(html: &mut Html, view: &View<'_>) {
    for lock in view.locks.iter().take(MAX_LOCKS) {
        write(html, view, lock);
    }
    if let Some(more @ 1..) = view.locks.len().checked_sub(MAX_LOCKS) {
        let more = units::plural(more as u64, "lock", "locks");
        html.leaf(
            "p",
            &[("class", "quiet")],
            &format!("{more} more without a section; the JSON document has them."),
        );
    }
}

fn write(html: &mut Html, view: &View<'_>, lock: &Lock) {
    let id = anchor(lock);
    html.open("article", &[("id", &id)]);
    html.open("h3", &[]);
    html.inline("span", &[("class", "quiet")], name::kind(lock.kind));
    html.raw(" ");
    html.text(&text::shorten_function(&name::lock(lock), 120));
    html.close("h3");
    if lock.waiters > 0 {
        html.leaf(
            "p",
            &[("class", "sentence")],
            &summary::sentence(view, lock),
        );
    }
    chain::write(html, view, lock);
    html.raw("<dl>\n");
    let runtime = match &lock.runtime {
        Some(runtime) => format!(", {runtime}"),
        None => String::new(),
    };
    let place = format!("{}{runtime}, {:#x}", view.process(lock.pid), lock.address);
    fact(html, "In", &place);
    if let (Some(symbol), true) = (&lock.symbol, lock.site.is_some()) {
        fact(html, "Symbol", symbol);
    }
    if let Some(site) = &lock.site {
        fact(html, "Site", site);
    }
    if view.is_recording() {
        recorded(html, lock);
    }
    html.raw("</dl>\n");
    histogram::write(html, lock);
    let threads = view.waiting.get(&(lock.pid, lock.address));
    match threads {
        Some(threads) => waiting(html, threads),
        None => paths(html, lock),
    }
    html.close("article");
}

fn fact(html: &mut Html, what: &'static str, text: &str) {
    html.raw("<div>");
    html.inline("dt", &[], what);
    html.inline("dd", &[], &text::truncate_middle(text, 240));
    html.raw("</div>\n");
}

fn recorded(html: &mut Html, lock: &Lock) {
    let peak = format!(
        "{} at most at once",
        units::plural(lock.waiters_peak, "thread", "threads")
    );
    fact(html, "Peak", &peak);
    if lock.waiters > 0 {
        let handoff = match lock.last_handoff_ns {
            Some(ns) => format!("{} ago", units::duration(ns)),
            None => "none seen".to_owned(),
        };
        fact(html, "Last hand-off", &handoff);
    }
    let outcomes = [
        (lock.outcomes.woken, "woken"),
        (lock.outcomes.timed_out, "timed out"),
        (lock.outcomes.interrupted, "interrupted"),
        (lock.outcomes.error, "failed"),
    ];
    let seen: Vec<String> = outcomes
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, how)| format!("{} {how}", units::count(*n)))
        .collect();
    if !seen.is_empty() {
        fact(html, "Waits ended", &seen.join(", "));
    }
    if let Some(holds) = &lock.holds {
        if let Some(sites) = hold::sites(holds) {
            fact(html, hold::kept_by(lock.kind), &sites);
        }
        if let Some(summary) = hold::summary(holds) {
            fact(html, "Holds", &summary);
        }
    }
    if let Some(text) = lock.runqueue.as_ref().and_then(hold::scheduler) {
        fact(html, "Scheduler", &text);
    }
}

/// Threads of a snapshot, by where they wait.
fn waiting(html: &mut Html, threads: &[&Thread]) {
    let groups = table::threads::group(threads.iter().copied());
    for (index, group) in groups.iter().take(MAX_PATHS).enumerate() {
        let age = match group.oldest_ns {
            Some(ns) => format!(", the oldest for {}", units::duration(ns)),
            None => String::new(),
        };
        let title = format!(
            "{} {}: {}{age}",
            units::plural(group.count, "thread", "threads"),
            if group.count == 1 { "waits" } else { "wait" },
            group.who(60)
        );
        stack::details(html, &title, &group.first.frames, index == 0);
    }
    more(html, groups.iter().skip(MAX_PATHS).map(|group| group.count));
}

/// Call paths that the lock was waited for at.
fn paths(html: &mut Html, lock: &Lock) {
    let paths = table::sites::merge(&lock.sites);
    for (index, path) in paths.iter().take(MAX_PATHS).enumerate() {
        let mut seen = Vec::new();
        if path.waits > 0 {
            seen.push(format!(
                "{} of {}, {}",
                units::percent(path.waits, lock.waits),
                units::plural(lock.waits, "wait", "waits"),
                units::duration(path.wait_ns)
            ));
        }
        if path.waiters > 0 {
            seen.push(format!("{} waiting now", units::count(path.waiters)));
        }
        stack::details(html, &seen.join("; "), path.frames, index == 0);
    }
    more(
        html,
        paths
            .iter()
            .skip(MAX_PATHS)
            .map(|path| path.waits.max(path.waiters)),
    );
}

fn more(html: &mut Html, rest: impl Iterator<Item = u64>) {
    let (paths, waits) = rest.fold((0, 0_u64), |(paths, waits), n| {
        (paths + 1, waits.saturating_add(n))
    });
    if paths > 0 {
        let paths = units::plural(paths, "call path", "call paths");
        html.leaf(
            "p",
            &[("class", "quiet")],
            &format!(
                "{paths} more with {} in all.",
                units::plural(waits, "wait", "waits")
            ),
        );
    }
}
