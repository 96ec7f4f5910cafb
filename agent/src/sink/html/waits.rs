//! Waits that are not for locks, in short form: one row for all that wait at the same place.

use std::collections::BTreeMap;

use super::{View, markup::Html, overview};
use crate::sink::{name, text, units};

/// Most rows.
const MAX_ROWS: usize = 100;

#[derive(Default)]
struct Row {
    objects: u64,
    waiting: u64,
    oldest_ns: u64,
    waits: u64,
    total_ns: u64,
}

pub fn write(html: &mut Html, view: &View<'_>) {
    if view.others.is_empty() {
        return;
    }
    let mut rows: BTreeMap<(&str, String, u32), Row> = BTreeMap::new();
    for lock in &view.others {
        let name = text::shorten_function(&name::lock(lock), 100);
        let row = rows
            .entry((name::kind(lock.kind), name, lock.pid))
            .or_default();
        row.objects += 1;
        row.waiting = row.waiting.saturating_add(lock.waiters);
        row.oldest_ns = row.oldest_ns.max(lock.oldest_wait_ns.unwrap_or(0));
        row.waits = row.waits.saturating_add(lock.waits);
        row.total_ns = row.total_ns.saturating_add(lock.wait_ns.total);
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|(_, row)| std::cmp::Reverse((row.waiting, row.total_ns)));
    html.raw("<section id=\"other-waits\" aria-labelledby=\"other-waits-title\">\n");
    html.raw("<h2 id=\"other-waits-title\">Waits that are not for locks</h2>\n");
    html.raw("<p class=\"quiet\">Condition variables, barriers, joins, idle workers and runtimes: nobody has to let go of anything.</p>\n");
    html.raw("<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table class=\"sortable\">\n<thead><tr><th scope=\"col\">Kind</th><th scope=\"col\">Where</th>");
    html.raw("<th scope=\"col\">Process</th><th scope=\"col\" class=\"number\">Objects</th>");
    html.raw("<th scope=\"col\" class=\"number\">Waiting</th><th scope=\"col\" class=\"number\">Oldest</th>");
    if view.is_recording() {
        html.raw("<th scope=\"col\" class=\"number\">Waits</th><th scope=\"col\" class=\"number\">Total</th>");
    }
    html.raw("</tr></thead>\n<tbody>\n");
    for ((kind, name, pid), row) in rows.iter().take(MAX_ROWS) {
        html.raw("<tr>");
        html.inline("td", &[], kind);
        html.inline("td", &[], name);
        html.inline("td", &[], &view.process(*pid));
        overview::number(html, row.objects, &units::count(row.objects), false);
        overview::number(html, row.waiting, &units::count(row.waiting), false);
        let oldest = match row.waiting {
            0 => String::new(),
            _ => units::duration(row.oldest_ns),
        };
        overview::number(html, row.oldest_ns, &oldest, false);
        if view.is_recording() {
            overview::number(html, row.waits, &units::count(row.waits), false);
            overview::number(html, row.total_ns, &units::duration(row.total_ns), false);
        }
        html.raw("</tr>\n");
    }
    html.raw("</tbody></table></div>\n");
    if let Some(more @ 1..) = rows.len().checked_sub(MAX_ROWS) {
        let more = units::plural(more as u64, "row", "rows");
        html.leaf(
            "p",
            &[("class", "quiet")],
            &format!("{more} more not shown."),
        );
    }
    html.raw("</section>\n");
}
