//! Goroutines in the style of Go's own dump, but grouped: one stack for all that do the same at the same place.

use std::fmt::Write as _;

use super::{Report, text, units};
use crate::model::{GoProcess, go::Group};

/// All processes of a report that are written in Go.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut page = String::new();
    for process in report.go() {
        if !page.is_empty() {
            page.push('\n');
        }
        self::process(&mut page, process, report.comm(process.pid));
    }
    if page.is_empty() {
        page.push_str("no process written in Go was looked at\n");
    }
    page
}

fn process(page: &mut String, process: &GoProcess, comm: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(
        page,
        "goroutine profile: total {}, process {} ({}), {}",
        process.goroutines.total,
        process.pid,
        text::sanitise(comm),
        text::sanitise(&process.version),
    );
    if let Some(error) = &process.error {
        let _ = writeln!(page, "not read: {}", text::sanitise(error));
    }
    for group in &process.groups {
        page.push('\n');
        self::group(page, group);
    }
    for (count, what) in [
        (process.groups_left_out, "groups were left out"),
        (
            process.torn_reads,
            "goroutines changed while they were read",
        ),
        (process.stacks_left_out, "stacks were not read"),
    ] {
        if count > 0 {
            let _ = writeln!(page, "\n{count} {what}");
        }
    }
}

fn group(page: &mut String, group: &Group) {
    let (one, many) = ("goroutine", "goroutines");
    let _ = write!(
        page,
        "{} {}",
        group.count,
        if group.count == 1 { one } else { many }
    );
    if let [goid] = group.goids.as_slice() {
        let _ = write!(page, " {goid}");
    }
    let _ = write!(
        page,
        " [{}",
        text::sanitise(group.reason.as_ref().unwrap_or(&group.state))
    );
    if let Some(ns) = group.oldest_ns {
        let _ = write!(page, ", >= {}", units::duration(ns));
    }
    page.push(']');
    match (group.detail.as_str(), group.lock, group.kind) {
        ("", Some(lock), Some(kind)) => {
            let _ = write!(page, " on {} {lock:#x}", super::name::kind(kind));
        }
        ("", ..) => {}
        (detail, ..) => {
            let _ = write!(page, " on {}", text::sanitise(detail));
        }
    }
    page.push_str(":\n");
    for frame in &group.frames {
        let inlined = if frame.inlined { "(...)" } else { "()" };
        let _ = writeln!(
            page,
            "{}{inlined}",
            text::sanitise(&super::name::function(frame))
        );
        if let Some(file) = &frame.file {
            let _ = writeln!(
                page,
                "\t{}:{}",
                text::sanitise(file),
                frame.line.unwrap_or(0)
            );
        }
    }
    if let Some(function) = &group.created_by {
        let _ = writeln!(page, "created by {}", text::sanitise(function));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Frame, Kind},
        sink::fixture,
    };

    #[test]
    fn as_go_prints_it_but_counted() {
        let mut snapshot = fixture::snapshot();
        let frame = |function: &str, line| Frame {
            function: Some(function.to_owned()),
            file: Some("/src/main.go".to_owned()),
            line: Some(line),
            ..Frame::default()
        };
        snapshot.go = vec![GoProcess {
            pid: 7,
            version: "go1.22.10".to_owned(),
            groups: vec![Group {
                count: 2,
                state: "waiting".to_owned(),
                reason: Some("sync.Mutex.Lock".to_owned()),
                lock: Some(0xc000),
                kind: Some(Kind::Mutex),
                oldest_ns: Some(3_000_000_000),
                goids: vec![4, 5],
                detail: String::new(),
                created_by: Some("main.main".to_owned()),
                frames: vec![frame("main.f", 3)],
            }],
            torn_reads: 1,
            ..GoProcess::default()
        }];
        assert_eq!(
            render(&Report::Snapshot(snapshot)),
            "goroutine profile: total 0, process 7 (), go1.22.10\n\n\
             2 goroutines [sync.Mutex.Lock, >= 3.00 s] on mutex 0xc000:\n\
             main.f()\n\t/src/main.go:3\ncreated by main.main\n\n\
             1 goroutines changed while they were read\n"
        );
    }

    #[test]
    fn nothing_to_show() {
        let page = render(&Report::Snapshot(fixture::snapshot()));
        assert_eq!(page, "no process written in Go was looked at\n");
    }
}
