//! Threads of a snapshot: by what they do, and one by one.

use super::{View, anchor, markup::Html, overview, stack};
use crate::{
    model::snapshot::Thread,
    sink::{name, table, text, units},
};

/// Most groups.
const MAX_GROUPS: usize = 60;
/// Most rows of the table.
const MAX_ROWS: usize = 500;

pub fn write(html: &mut Html, view: &View<'_>) {
    if view.threads.is_empty() {
        return;
    }
    html.raw("<section id=\"threads\" aria-labelledby=\"threads-title\">\n");
    html.raw("<h2 id=\"threads-title\">Threads</h2>\n");
    groups(html, view);
    rows(html, view);
    html.raw("</section>\n");
}

/// Those that do not wait for a lock; the others are with their locks.
fn groups(html: &mut Html, view: &View<'_>) {
    let groups = table::threads::group(view.threads.iter().filter(|thread| thread.lock.is_none()));
    if groups.is_empty() {
        return;
    }
    html.raw("<h3>What those do that wait for no lock</h3>\n");
    for group in groups.iter().take(MAX_GROUPS) {
        let title = format!(
            "{}: {}, {}",
            units::plural(group.count, "thread", "threads"),
            group.doing(),
            group.who(60)
        );
        if group.first.frames.is_empty() {
            html.leaf("p", &[("class", "group")], &title);
        } else {
            stack::details(html, &title, &group.first.frames, false);
        }
    }
    if let Some(more @ 1..) = groups.len().checked_sub(MAX_GROUPS) {
        let rest = groups.iter().skip(MAX_GROUPS);
        let threads = rest.map(|group| group.count).sum();
        html.leaf(
            "p",
            &[("class", "quiet")],
            &format!(
                "{} more with {} not shown.",
                units::plural(more as u64, "group", "groups"),
                units::plural(threads, "thread", "threads")
            ),
        );
    }
}

fn rows(html: &mut Html, view: &View<'_>) {
    let mut threads: Vec<&Thread> = view.threads.iter().collect();
    // Those that wait for locks first, then the longest asleep.
    let key = |thread: &&Thread| {
        let waits = thread.kind.is_some_and(|kind| kind.is_lock());
        std::cmp::Reverse((waits, thread.since_ns))
    };
    threads.sort_by_key(key);
    html.raw("<h3>One by one</h3>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table class=\"sortable\">\n<thead><tr>");
    html.raw("<th scope=\"col\" class=\"number\">Thread</th><th scope=\"col\">Name</th><th scope=\"col\">Process</th>");
    html.raw("<th scope=\"col\">State</th><th scope=\"col\">System call</th><th scope=\"col\">Waits for</th>");
    html.raw("<th scope=\"col\" class=\"number\">Since</th><th scope=\"col\">Where</th></tr></thead>\n<tbody>\n");
    let locks: std::collections::HashMap<(u32, u64), _> = view
        .locks
        .iter()
        .chain(&view.others)
        .map(|lock| ((lock.pid, lock.address), *lock))
        .collect();
    let with_section: std::collections::HashSet<(u32, u64)> = view
        .locks
        .iter()
        .take(super::lock::MAX_LOCKS)
        .map(|lock| (lock.pid, lock.address))
        .collect();
    for thread in threads.iter().take(MAX_ROWS) {
        html.raw("<tr>");
        overview::number(html, thread.tid.into(), &thread.tid.to_string(), false);
        html.inline("td", &[], &text::truncate_middle(&thread.comm, 32));
        html.inline("td", &[], &view.process(thread.pid));
        html.inline("td", &[], &text::truncate_end(&thread.state, 16));
        let syscall = thread.syscall.as_deref().unwrap_or_default();
        html.inline("td", &[], &text::truncate_end(syscall, 32));
        html.raw("<td>");
        let key = thread.lock.map(|address| (thread.pid, address));
        if let (Some(key), Some(lock)) = (key, key.and_then(|key| locks.get(&key))) {
            let name = text::shorten_function(&name::lock(lock), 40);
            let words = format!("{} {name}", name::kind(lock.kind));
            if with_section.contains(&key) {
                html.inline("a", &[("href", &format!("#{}", anchor(lock)))], &words);
            } else {
                html.text(&words);
            }
        }
        html.raw("</td>");
        let since = thread.since_ns.map(units::duration).unwrap_or_default();
        overview::number(html, thread.since_ns.unwrap_or(0), &since, false);
        let place = table::stack::shown(&thread.frames).first().map(|frame| {
            let function = text::shorten_function(&name::function(frame), 40);
            format!(
                "{function} {}",
                text::truncate_middle(&name::location(frame), 40)
            )
        });
        html.inline("td", &[], place.unwrap_or_default().trim_end());
        html.raw("</tr>\n");
    }
    html.raw("</tbody></table></div>\n");
    let unseen = |(index, thread): (usize, &&Thread)| {
        // Those that a row stands for have none of their own.
        thread.count().saturating_sub(u64::from(index < MAX_ROWS))
    };
    let sum = |rows: &mut dyn Iterator<Item = (usize, &&Thread)>| {
        rows.map(unseen).fold(0, u64::saturating_add)
    };
    if let more @ 1.. = sum(&mut threads.iter().enumerate()) {
        let all = threads.iter().enumerate();
        let waiting = sum(&mut all.filter(|(_, thread)| thread.lock.is_some()));
        html.leaf(
            "p",
            &[("class", "quiet")],
            &format!(
                "{} more not shown; {} of them wait for a lock or in another futex wait. The JSON document has them.",
                units::plural(more, "thread", "threads"),
                units::count(waiting)
            ),
        );
    }
}
