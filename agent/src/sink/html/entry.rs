//! What probes on every lock and unlock saw.

use super::{View, markup::Html, overview, stack};
use crate::{
    model::entry::{EntryLock, EntryReport},
    sink::{Report, text, units},
};

/// Most potential deadlocks and mistakes, and most rows.
const MOST: usize = 100;

pub fn write(html: &mut Html, view: &View<'_>) {
    let Report::Capture(capture) = view.report else {
        return;
    };
    let Some(report) = &capture.entry else { return };
    html.raw("<section id=\"entry\" aria-labelledby=\"entry-title\">\n");
    html.raw("<h2 id=\"entry-title\">Every lock and unlock</h2>\n");
    if let Some(price) = &report.price {
        html.leaf("p", &[("class", "quiet")], &price.text);
    }
    for deadlock in report.potential_deadlocks.iter().take(MOST) {
        html.leaf("h3", &[], &format!("Potential deadlock: {}", deadlock.text));
        for edge in &deadlock.edges {
            let who = match edge.threads.first() {
                Some(thread) => format!("{} ({})", thread.comm, thread.tid),
                None => "a thread".to_owned(),
            };
            let (held, taken) = (&edge.held.name, &edge.acquired.name);
            let takes = format!("{who} takes {taken}");
            stack::details(html, &takes, &edge.acquired_frames, true);
            let with = format!("with {held}, which it took");
            stack::details(html, &with, &edge.held_frames, true);
        }
    }
    for mistake in report.mistakes.iter().take(MOST) {
        let times = units::plural(mistake.count, "time", "times");
        let title = format!("Mistake, seen {times}: {}", mistake.text);
        stack::details(html, &title, &mistake.frames, true);
    }
    locks(html, view, report);
    html.raw("</section>\n");
}

fn locks(html: &mut Html, view: &View<'_>, report: &EntryReport) {
    html.raw("<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table class=\"sortable\">\n<thead><tr><th scope=\"col\">Kind</th><th scope=\"col\">Lock</th>");
    html.raw("<th scope=\"col\">Process</th><th scope=\"col\" class=\"number\">Taken</th>");
    html.raw("<th scope=\"col\" class=\"number\">Contended</th><th scope=\"col\" class=\"number\">Waited</th>");
    html.raw("<th scope=\"col\" class=\"number\">Held</th><th scope=\"col\" class=\"number\">Longest hold</th>");
    html.raw("<th scope=\"col\">Held now by</th></tr></thead>\n<tbody>\n");
    for lock in report.locks.iter().take(MOST) {
        row(html, view, lock);
    }
    html.raw("</tbody></table></div>\n");
    let more = (report.locks.len().saturating_sub(MOST)) as u64 + report.locks_left_out;
    if more > 0 {
        let more = units::plural(more, "lock", "locks");
        html.leaf(
            "p",
            &[("class", "quiet")],
            &format!("{more} more not shown."),
        );
    }
}

fn row(html: &mut Html, view: &View<'_>, lock: &EntryLock) {
    let address = format!("{:#x}", lock.address);
    let name = lock.symbol.as_ref().or(lock.site.as_ref());
    let name = text::shorten_function(name.unwrap_or(&address), 100);
    html.raw("<tr>");
    html.inline("td", &[], lock.kind.as_str());
    html.inline("td", &[("title", &address)], &name);
    html.inline("td", &[], &view.process(lock.pid));
    overview::number(
        html,
        lock.acquisitions,
        &units::count(lock.acquisitions),
        false,
    );
    overview::number(html, lock.contended, &units::count(lock.contended), false);
    for ns in [lock.wait.total_ns, lock.hold.total_ns, lock.hold.max_ns] {
        overview::number(html, ns, &units::duration(ns), false);
    }
    let holder = lock.holder.as_ref().map_or(String::new(), |holder| {
        let since = units::duration(holder.since_ns);
        format!("{} ({}) for {since}", holder.comm, holder.tid)
    });
    html.inline("td", &[], &holder);
    html.raw("</tr>\n");
}
