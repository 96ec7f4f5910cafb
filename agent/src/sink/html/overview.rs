//! All locks in one table.

use super::{View, anchor, lock::MAX_LOCKS, markup::Html};
use crate::{
    model::Lock,
    sink::{name, text, units},
};

/// Most rows.
const MAX_ROWS: usize = 300;

pub fn write(html: &mut Html, view: &View<'_>) {
    if view.locks.is_empty() {
        return;
    }
    html.raw("<section id=\"locks\" aria-labelledby=\"locks-title\">\n");
    html.raw("<h2 id=\"locks-title\">Locks</h2>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table class=\"sortable\">\n");
    html.raw("<thead><tr><th scope=\"col\">Kind</th><th scope=\"col\">Lock</th><th scope=\"col\">Process</th>");
    html.raw("<th scope=\"col\" class=\"number\">Waiting</th><th scope=\"col\" class=\"number\">Oldest</th>");
    if view.is_recording() {
        html.raw("<th scope=\"col\" class=\"number\">Peak</th><th scope=\"col\" class=\"number\">Waits</th>");
        html.raw("<th scope=\"col\" class=\"number\">Total</th><th scope=\"col\" class=\"number\">Longest</th>");
    }
    html.raw("<th scope=\"col\">Holder</th></tr></thead>\n<tbody>\n");
    for (index, lock) in view.locks.iter().take(MAX_ROWS).enumerate() {
        row(html, view, lock, index < MAX_LOCKS);
    }
    html.raw("</tbody></table></div>\n");
    if let Some(more @ 1..) = view.locks.len().checked_sub(MAX_ROWS) {
        let rest = view.locks.iter().skip(MAX_ROWS);
        let waiting = rest.fold(0_u64, |sum, lock| sum.saturating_add(lock.waiters));
        html.leaf(
            "p",
            &[("class", "quiet")],
            &format!(
                "{} more with {} not shown.",
                units::plural(more as u64, "lock", "locks"),
                units::plural(waiting, "waiting thread", "waiting threads")
            ),
        );
    }
    html.raw("</section>\n");
}

fn row(html: &mut Html, view: &View<'_>, lock: &Lock, has_section: bool) {
    html.raw("<tr>");
    html.inline("td", &[], name::kind(lock.kind));
    let name = text::shorten_function(&name::lock(lock), 60);
    if has_section {
        html.raw("<td>");
        html.inline("a", &[("href", &format!("#{}", anchor(lock)))], &name);
        html.raw("</td>");
    } else {
        html.inline("td", &[], &name);
    }
    html.inline("td", &[], &view.process(lock.pid));
    number(
        html,
        lock.waiters,
        &units::count(lock.waiters),
        lock.waiters > 0,
    );
    let oldest = lock.oldest_wait_ns.unwrap_or(0);
    let at_least = if lock.oldest_is_at_least { "≥ " } else { "" };
    let age = match lock.oldest_wait_ns {
        Some(ns) => format!("{at_least}{}", units::duration(ns)),
        None => String::new(),
    };
    number(html, oldest, &age, false);
    if view.is_recording() {
        number(
            html,
            lock.waiters_peak,
            &units::count(lock.waiters_peak),
            false,
        );
        number(html, lock.waits, &units::count(lock.waits), false);
        for ns in [lock.wait_ns.total, lock.wait_ns.max] {
            let text = match lock.waits {
                0 => String::new(),
                _ => units::duration(ns),
            };
            number(html, ns, &text, false);
        }
    }
    let holder = match &lock.holder {
        Some(holder) if holder.comm.is_empty() => format!("gone ({})", holder.number()),
        Some(holder) => format!("{} ({})", holder.comm, holder.number()),
        None => "not known".to_owned(),
    };
    let class = if lock.holder.is_none() { "quiet" } else { "" };
    html.inline("td", &[("class", class)], &holder);
    html.raw("</tr>\n");
}

/// A cell that sorts by its value.
pub fn number(html: &mut Html, value: u64, text: &str, alarm: bool) {
    let class = if alarm { "number alarm" } else { "number" };
    html.inline(
        "td",
        &[("class", class), ("data-value", &value.to_string())],
        text,
    );
}
