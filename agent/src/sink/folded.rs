//! Folded stacks: `process;outermost;...;innermost;[kind lock] nanoseconds`, one line per stack, sorted.
//!
//! The weight is time spent waiting (see [`super::stacks`] for waits that go on). Stacks of processes with the same
//! name are added up, so that files of two runs can be compared. A thread whose age is not known weighs 1 ns: it is
//! visible and does not distort. `;` in names becomes `:`, what cannot be printed becomes U+FFFD, and a frame that was
//! found by scanning ends in ` (guessed)`.

use std::collections::BTreeMap;

use super::{Report, name, stacks, stacks::Stack, text};

/// All stacks of a report.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut weights: BTreeMap<String, u64> = BTreeMap::new();
    for stack in stacks::of(report) {
        let weight = weights.entry(line(&stack)).or_default();
        *weight = weight.saturating_add(stack.ns.max(1));
    }
    weights
        .iter()
        .map(|(stack, weight)| format!("{stack} {weight}\n"))
        .collect()
}

fn line(stack: &Stack<'_>) -> String {
    let process = if stack.comm.is_empty() {
        "?"
    } else {
        stack.comm
    };
    let mut line = escape(process);
    for frame in stack.frames.iter().rev() {
        line.push(';');
        line.push_str(&escape(&name::function(frame)));
        if frame.guessed {
            line.push_str(" (guessed)");
        }
    }
    line.push(';');
    line.push_str(&escape(&stack.label()));
    line
}

fn escape(name: &str) -> String {
    text::sanitise(name).replace(';', ":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{fixture, golden};

    /// Sum of the weights, and each line's frames.
    fn parse(folded: &str) -> (u64, Vec<Vec<&str>>) {
        let mut total = 0;
        let lines = folded
            .lines()
            .map(|line| {
                let (stack, weight) = line.rsplit_once(' ').unwrap();
                total += weight.parse::<u64>().unwrap();
                stack.split(';').collect()
            })
            .collect();
        (total, lines)
    }

    #[test]
    fn golden_capture() {
        golden::check(
            "capture.folded",
            &render(&Report::Capture(fixture::capture())),
        );
    }

    #[test]
    fn golden_snapshot() {
        golden::check(
            "snapshot.folded",
            &render(&Report::Snapshot(fixture::snapshot())),
        );
    }

    #[test]
    fn weights_sum_to_the_time_waited() {
        let capture = fixture::capture();
        let expected: u64 = capture
            .locks
            .iter()
            .map(|lock| lock.wait_ns.total + lock.waiters * fixture::age_in_capture(lock))
            .sum();
        assert_eq!(parse(&render(&Report::Capture(capture))).0, expected);
    }

    #[test]
    fn names_cannot_break_the_format() {
        let mut capture = fixture::capture();
        capture.processes[0].comm = "a;b\nc".to_owned();
        capture.locks.truncate(1);
        capture.locks[0].sites.truncate(1);
        capture.locks[0].waiters = 0;
        capture.locks[0].waits = capture.locks[0].sites[0].waits;
        capture.locks[0].wait_ns.total = capture.locks[0].sites[0].wait_ns;
        capture.locks[0].sites[0].frames.truncate(1);
        capture.locks[0].sites[0].frames[0].function = Some("f(x; 7\n)".to_owned());
        capture.locks[0].sites[0].frames[0].guessed = true;
        capture.locks[0].sites[0].waiters = 0;
        let folded = render(&Report::Capture(capture.clone()));
        let (total, lines) = parse(&folded);
        assert_eq!(total, capture.locks[0].wait_ns.total);
        assert_eq!(
            lines,
            [[
                "a:b\u{fffd}c",
                "f(x: 7\u{fffd}) (guessed)",
                "[mutex pool_lock]"
            ]]
        );
    }
}
