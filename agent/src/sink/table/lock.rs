//! What a capture and a snapshot say alike about a lock.

use crate::{
    model::{
        Kind, Lock,
        explanation::{Confidence, Deadlock, Ending, RootBlocker},
    },
    sink::{hold, name, text, units},
};

use super::page::{Page, Style};

/// Columns of a kind.
pub const KIND: usize = 12;

/// Whether a lock belongs in the main section: somebody must let go, or we cannot tell that nobody must.
pub const fn is_held_up(lock: &Lock) -> bool {
    lock.kind.may_be_lock()
}

/// Whether somebody slept for it: a call that found the word changed did not.
pub const fn was_waited_for(lock: &Lock) -> bool {
    lock.waits > 0 || lock.waiters > 0
}

/// Writes the lock's whole name when `columns` were not enough for it. A site is repeated by the stacks.
pub fn full_name(page: &mut Page, lock: &Lock, columns: usize) {
    if let Some(symbol) = &lock.symbol
        && text::width(&text::sanitise(symbol)) > columns
    {
        page.detail("name", symbol, Style::Plain);
    }
}

/// Writes where the lock lives: process, runtime, address.
pub fn place(page: &mut Page, lock: &Lock, comm: &str) {
    let process = format!("{comm} ({})", lock.pid);
    place_in(page, lock, &process, &format!("{:#x}", lock.address));
}

/// The same in other words.
pub fn place_in(page: &mut Page, lock: &Lock, process: &str, address: &str) {
    let runtime = match &lock.runtime {
        Some(runtime) => format!(", {runtime}"),
        None => String::new(),
    };
    page.detail(
        "in",
        &format!("{process}{runtime}, {address}"),
        Style::Plain,
    );
}

/// `for 9.50 s`, `for at least 1h 02m`; empty when nobody waits.
pub fn age(lock: &Lock) -> String {
    match lock.oldest_wait_ns {
        Some(ns) if lock.oldest_is_at_least => format!("for at least {}", units::duration(ns)),
        Some(ns) => format!("for {}", units::duration(ns)),
        None => "for an unknown time".to_owned(),
    }
}

/// Writes who holds the lock and how that is known.
pub fn holder(page: &mut Page, lock: &Lock) {
    let Some(holder) = &lock.holder else { return };
    let comm = if holder.comm.is_empty() {
        "a thread that is gone"
    } else {
        &holder.comm
    };
    let elsewhere = holder.pid.filter(|&pid| pid != lock.pid);
    let process = elsewhere.map_or(String::new(), |pid| format!(" of process {pid}"));
    let mut known = format!(
        "{comm} ({}){process}, known by: {}",
        holder.number(),
        holder.known_by
    );
    if holder.confidence < Confidence::Exact {
        known.push_str(&format!(" ({})", holder.confidence.as_str()));
    }
    let verb = match lock.kind {
        Kind::Condvar => "signal by",
        _ => "held by",
    };
    page.detail(verb, &known, Style::Bold);
}

/// Writes how long the lock is held and by whom, and what of the waiting was the scheduler's doing.
pub fn measured(page: &mut Page, lock: &Lock) {
    if let Some(holds) = &lock.holds {
        if let Some(sites) = hold::sites(holds) {
            page.detail(hold::kept_by(lock.kind), &sites, Style::Plain);
        }
        if let Some(summary) = hold::summary(holds) {
            page.detail("holds", &summary, Style::Plain);
        }
    }
    if let Some(text) = lock.runqueue.as_ref().and_then(hold::scheduler) {
        page.detail("cpu", &text, Style::Plain);
    }
}

/// Writes why the lock is held up, down to the root.
pub fn why(page: &mut Page, lock: &Lock) {
    if let Some(explanation) = &lock.explanation
        && !explanation.chain.is_empty()
    {
        page.detail("why", &explanation.text, Style::Plain);
    }
}

/// Writes the deadlocks of a document: nothing else matters as much.
pub fn deadlocks(page: &mut Page, deadlocks: &[Deadlock]) {
    /// The rest are in the JSON document.
    const SHOWN: usize = 5;
    for deadlock in deadlocks.iter().take(SHOWN) {
        page.paragraph(&deadlock.text, Style::Bold);
    }
    left_to_json(page, deadlocks.len(), SHOWN, "deadlocks");
}

/// Writes what most threads wait behind, where that takes more than one lock to say.
pub fn roots(page: &mut Page, roots: &[RootBlocker]) {
    /// The rest are in the JSON document.
    const SHOWN: usize = 5;
    // What a deadlock holds up, it says itself; what holds up one lock is told there.
    let tells = |root: &&RootBlocker| {
        root.ending != Ending::Deadlock && root.locks.len() > 1 && !root.root.is_idle()
    };
    let roots: Vec<&RootBlocker> = roots.iter().filter(tells).collect();
    for root in roots.iter().take(SHOWN) {
        page.paragraph(&root.text, Style::Bold);
    }
    left_to_json(page, roots.len(), SHOWN, "roots");
}

/// A lock's name in `columns`, with its process when there are several.
pub fn short_name(lock: &Lock, comm: Option<&str>, columns: usize) -> String {
    let comm = match comm {
        Some(comm) => format!("{}: ", text::truncate_middle(comm, 15)),
        None => String::new(),
    };
    let room = columns.saturating_sub(text::width(&comm));
    let name = match (&lock.symbol, &lock.site) {
        // A site is a function and a place.
        (None, Some(site)) => match site.rsplit_once(' ') {
            // Parameters have spaces too.
            Some((function, place)) if is_line(place) && text::width(place) < room / 2 => {
                let room = room - text::width(place) - 1;
                format!("{} {place}", text::shorten_function(function, room))
            }
            _ => text::shorten_function(site, room),
        },
        _ => text::shorten_function(&name::lock(lock), room),
    };
    text::truncate_middle(&format!("{comm}{name}"), columns)
}

/// `config.c:88`.
fn is_line(place: &str) -> bool {
    let line = place.rsplit_once(':').map(|(_, line)| line);
    line.is_some_and(|line| !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit()))
}

/// Says how many rows only the JSON document has.
pub fn left_to_json(page: &mut Page, rows: usize, shown: usize, what: &str) {
    if let Some(more @ 1..) = rows.checked_sub(shown) {
        let more = units::count(more as u64);
        page.paragraph(
            &format!("({more} more {what} in the JSON document)"),
            Style::Dim,
        );
    }
}

/// Says how many rows were left out.
pub fn left_out(page: &mut Page, rows: usize, top: usize, what: &str) {
    if let Some(more @ 1..) = rows.checked_sub(top) {
        let more = units::count(more as u64);
        page.line(&[(
            &format!("({more} more {what} not shown; --top sets how many are)"),
            Style::Dim,
        )]);
        page.blank();
    }
}
