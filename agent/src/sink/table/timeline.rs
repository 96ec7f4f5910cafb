//! The minutes before an incident: a line for each measure, oldest at the left.

use crate::{
    model::{
        Bundle,
        bundle::{Interval, Moved},
    },
    sink::units,
};

use super::histogram;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it shows.
    pub label: &'static str,
    /// A block for each stretch of time.
    pub bars: String,
    /// The least and the greatest value: `0 .. 3`.
    pub range: String,
}

/// How a measure is read and summed up over a stretch of time.
struct Measure {
    label: &'static str,
    of: fn(&Interval, &Bundle) -> Option<Moved>,
    value: fn(Moved) -> u64,
}

/// Waiters come first: they are what the incident is about.
const MEASURES: [Measure; 4] = [
    Measure {
        label: "waiting",
        of: lock,
        value: |moved| moved.waiters,
    },
    Measure {
        label: "handed on",
        of: lock,
        value: |moved| moved.handoffs,
    },
    Measure {
        label: "in process",
        of: process,
        value: |moved| moved.waiters,
    },
    Measure {
        label: "its waits",
        of: process,
        value: |moved| moved.waits,
    },
];

/// The incident's lock. In an interval that has all of them, one that is not there has not moved.
fn lock(interval: &Interval, bundle: &Bundle) -> Option<Moved> {
    let own = bundle.incident.lock.as_ref()?;
    let found = interval
        .locks
        .iter()
        .find(|lock| lock.address == own.address && lock.kind == own.kind);
    match found {
        Some(lock) => Some(lock.moved),
        None if interval.is_partial => None,
        None => Some(Moved::default()),
    }
}

fn process(interval: &Interval, _: &Bundle) -> Option<Moved> {
    match interval.process {
        None if interval.is_partial => None,
        moved => Some(moved.unwrap_or_default()),
    }
}

/// All lines, each of at most `columns` blocks. Measures that are not known in any interval have none.
pub fn lines(bundle: &Bundle, columns: usize) -> Vec<Line> {
    MEASURES
        .iter()
        .filter_map(|measure| line(measure, bundle, columns))
        .collect()
}

fn line(measure: &Measure, bundle: &Bundle, columns: usize) -> Option<Line> {
    let intervals = &bundle.flight.intervals;
    let per_block = intervals.len().div_ceil(columns.max(1)).max(1);
    // The newest block is a whole one.
    let first = intervals.len() % per_block;
    let (head, rest) = intervals.split_at_checked(first)?;
    let head = Some(head).filter(|head| !head.is_empty());
    let most_of = |chunk: &[Interval]| {
        let known = chunk.iter().filter_map(|it| (measure.of)(it, bundle));
        known.map(measure.value).max()
    };
    let blocks: Vec<Option<u64>> = head
        .into_iter()
        .chain(rest.chunks(per_block))
        .map(most_of)
        .collect();
    let most = blocks.iter().flatten().max().copied()?;
    let values = intervals.iter().filter_map(|it| (measure.of)(it, bundle));
    let least = values.map(measure.value).min()?;
    let bars = blocks
        .iter()
        .map(|block| block.map_or('?', |value| histogram::bar(value, most)))
        .collect();
    Some(Line {
        label: measure.label,
        bars,
        range: format!("{} .. {}", units::count(least), units::count(most)),
    })
}

/// Time that all intervals cover, in nanoseconds.
pub fn length_ns(bundle: &Bundle) -> u64 {
    let intervals = bundle.flight.intervals.iter();
    intervals.fold(0, |sum, it| sum.saturating_add(it.duration_ns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::fixture;

    #[test]
    fn the_newest_is_at_the_right() {
        let bundle = fixture::bundle();
        let lines = lines(&bundle, 25);
        let labels: Vec<&str> = lines.iter().map(|line| line.label).collect();
        assert_eq!(labels, ["waiting", "handed on", "in process", "its waits"]);
        assert_eq!(lines[0].bars, format!("{}▂▂▅█", " ".repeat(21)));
        assert_eq!(lines[0].range, "0 .. 3");
        assert_eq!(length_ns(&bundle), 50_000_000_000);
    }

    #[test]
    fn what_is_not_known_is_no_zero() {
        let mut bundle = fixture::bundle();
        for interval in &mut bundle.flight.intervals {
            interval.locks.clear();
        }
        assert_eq!(lines(&bundle, 50)[0].range, "0 .. 0");
        bundle.flight.intervals[3].is_partial = true;
        assert_eq!(
            lines(&bundle, 50)[0].bars,
            format!("   ?{}", " ".repeat(46))
        );
        for interval in &mut bundle.flight.intervals {
            interval.is_partial = true;
        }
        assert_eq!(lines(&bundle, 50)[0].label, "in process");
        bundle.flight.intervals.clear();
        assert_eq!(lines(&bundle, 0), []);
    }
}
