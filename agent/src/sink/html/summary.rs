//! What somebody needs at three in the morning, in sentences.

use super::{View, anchor, chain, markup::Html};
use crate::{
    model::{
        Kind, Lock,
        explanation::{Ending, LockRef},
    },
    sink::{name, text, units},
};

/// Sentences of each sort.
const SENTENCES: usize = 5;

pub fn write(html: &mut Html, view: &View<'_>) {
    html.raw("<section id=\"summary\" aria-labelledby=\"summary-title\">\n");
    html.raw("<h2 id=\"summary-title\">What is the hold-up</h2>\n");
    html.leaf("p", &[("class", "headline")], &headline(view));
    html.raw("<ul class=\"causes\">\n");
    for deadlock in view.causes.deadlocks.iter().take(SENTENCES) {
        html.open("li", &[("class", "alarm")]);
        html.inline("strong", &[], &deadlock.text);
        html.text(&format!(
            "; {} in it or behind it ",
            units::plural(deadlock.waiters_total, "thread", "threads")
        ));
        chain::badge(html, deadlock.confidence.as_str());
        html.close("li");
    }
    more(html, view.causes.deadlocks.len(), "deadlock", "deadlocks");
    let roots = view
        .causes
        .root_blockers
        .iter()
        .filter(|blocker| blocker.ending != Ending::Deadlock && !blocker.root.is_idle());
    let count = roots.clone().count();
    for blocker in roots.take(SENTENCES) {
        html.open("li", &[]);
        html.text(&blocker.text);
        if let Some(ns) = blocker.oldest_wait_ns {
            html.text(&format!("; the oldest wait is {} old", units::duration(ns)));
        }
        html.raw(" ");
        chain::badge(html, blocker.progress.as_str());
        links(html, view, &blocker.locks);
        let heaviest = view.behind(&blocker.locks).max_by_key(|lock| lock.waiters);
        if let Some(explanation) = heaviest.and_then(|lock| view.causes.of(lock)) {
            html.inline("span", &[("class", "evidence")], &explanation.text);
        }
        html.close("li");
    }
    more(html, count, "root", "roots");
    if view.causes.deadlocks.is_empty() && count == 0 {
        let waiting = view.locks.iter().filter(|lock| lock.waiters > 0);
        let mut waiting: Vec<&&Lock> = waiting.collect();
        waiting.sort_by_key(|lock| std::cmp::Reverse((lock.waiters, lock.oldest_wait_ns)));
        for lock in waiting.iter().take(SENTENCES) {
            html.open("li", &[]);
            html.open("a", &[("href", &format!("#{}", anchor(lock)))]);
            html.text(&sentence(view, lock));
            html.close("a");
            html.close("li");
        }
        more(html, waiting.len(), "lock", "locks");
    }
    html.raw("</ul>\n</section>\n");
}

fn headline(view: &View<'_>) -> String {
    let sum = |locks: &[&Lock], field: fn(&Lock) -> u64| {
        locks
            .iter()
            .fold(0_u64, |sum, lock| sum.saturating_add(field(lock)))
    };
    let waiting = sum(&view.locks, |lock| lock.waiters);
    let parked = sum(&view.others, |lock| lock.waiters);
    let contended = view.locks.iter().filter(|lock| lock.waiters > 0).count() as u64;
    let now = match waiting {
        0 => "No thread waits for a lock".to_owned(),
        n => format!(
            "{} {} for {}",
            units::plural(n, "thread", "threads"),
            if n == 1 { "waits" } else { "wait" },
            units::plural(contended, "lock", "locks")
        ),
    };
    let past = match view.is_recording() {
        true => format!(
            " {} for {} took {} in all.",
            units::plural(
                sum(&view.locks, |lock| lock.waits),
                "finished wait",
                "finished waits"
            ),
            units::plural(view.locks.len() as u64, "lock", "locks"),
            units::duration(sum(&view.locks, |lock| lock.wait_ns.total)),
        ),
        false => String::new(),
    };
    format!(
        "{now}; {} in other futex waits.{past}",
        units::plural(parked, "thread is", "threads are")
    )
}

/// A lock in one sentence: the explanation's, else what the lock itself says.
pub fn sentence(view: &View<'_>, lock: &Lock) -> String {
    if let Some(explanation) = view.causes.of(lock) {
        return explanation.text.clone();
    }
    let verb = if lock.waiters == 1 { "waits" } else { "wait" };
    let mut sentence = format!(
        "{} {verb} for {} {}",
        units::plural(lock.waiters, "thread", "threads"),
        match lock.kind {
            Kind::Unknown => "a futex",
            kind => name::kind(kind),
        },
        text::shorten_function(&name::lock(lock), 80),
    );
    if let (Some(_), Some(site)) = (&lock.symbol, &lock.site) {
        sentence.push_str(&format!(" ({})", text::truncate_middle(site, 80)));
    }
    if let Some(ns) = lock.oldest_wait_ns {
        let at_least = if lock.oldest_is_at_least { ">= " } else { "" };
        sentence.push_str(&format!(", oldest {at_least}{}", units::duration(ns)));
    }
    if let Some(holder) = &lock.holder {
        sentence.push_str(&format!("; held by {}", chain::holder(view, lock, holder)));
    }
    sentence
}

fn links(html: &mut Html, view: &View<'_>, locks: &[LockRef]) {
    for (index, lock) in view.behind(locks).take(SENTENCES).enumerate() {
        html.raw(if index == 0 { " Locks: " } else { ", " });
        let href = format!("#{}", anchor(lock));
        let name = text::shorten_function(&name::lock(lock), 40);
        html.inline("a", &[("href", &href)], &name);
    }
}

fn more(html: &mut Html, count: usize, one: &'static str, many: &'static str) {
    if let Some(more @ 1..) = count.checked_sub(SENTENCES) {
        let more = units::plural(more as u64, one, many);
        html.leaf("li", &[("class", "quiet")], &format!("and {more} more"));
    }
}
