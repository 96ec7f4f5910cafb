//! Two documents compared: which locks are new, gone, worse or better.
//!
//! All kinds of documents compare with each other, by one measure: how many threads waited for a lock, on average. A
//! capture has it from the time that was waited, divided by its length; a snapshot is a moment, and a bundle's flight
//! recorder covers minutes.

mod measure;
mod table;

use std::{cmp::Ordering, collections::BTreeMap};

use self::measure::Measured;
pub use self::table::render as table;
use super::Document;
use crate::model::{
    Kind,
    diff::{Diff, LockDiff, Measure, SCHEMA, Trend},
};

/// Threads that waited on average, below which a lock is of no account: a hundredth is 10 ms in each second.
const FLOOR: f64 = 0.01;
/// Change in percent that chance makes.
const NOISE: f64 = 10.0;

/// Compares.
#[must_use]
pub fn compare(before: &Document, after: &Document) -> Diff {
    let (before, after) = (Measured::of(before), Measured::of(after));
    let mut pairs: BTreeMap<(String, Kind), (Option<Measure>, Option<Measure>)> = BTreeMap::new();
    let mut names: BTreeMap<(String, Kind), String> = BTreeMap::new();
    for (key, (name, measure)) in before.locks {
        pairs.entry(key.clone()).or_default().0 = Some(measure);
        names.insert(key, name);
    }
    for (key, (name, measure)) in after.locks {
        pairs.entry(key.clone()).or_default().1 = Some(measure);
        // As it is called now: an update may have moved the line.
        names.insert(key, name);
    }
    let mut locks: Vec<LockDiff> = pairs
        .into_iter()
        .map(|(key, (before, after))| {
            let name = names.remove(&key).unwrap_or_default();
            let (id, kind) = key;
            LockDiff {
                id,
                kind,
                name,
                trend: trend(before.as_ref(), after.as_ref()),
                change_percent: percent(before.as_ref(), after.as_ref()),
                before,
                after,
            }
        })
        .collect();
    locks.sort_by(order);
    Diff {
        schema: SCHEMA.to_owned(),
        before: before.side,
        after: after.side,
        locks,
    }
}

/// Locks that have become worse by more than `percent`. New ones have, by any percent.
pub fn worse(diff: &Diff, percent: f64) -> impl Iterator<Item = &LockDiff> {
    diff.locks.iter().filter(move |lock| {
        growth(lock) >= FLOOR
            && match lock.change_percent {
                Some(change) => change > percent,
                None => true,
            }
    })
}

const fn waiting(measure: Option<&Measure>) -> f64 {
    match measure {
        Some(measure) => measure.waiting,
        None => 0.0,
    }
}

fn growth(lock: &LockDiff) -> f64 {
    waiting(lock.after.as_ref()) - waiting(lock.before.as_ref())
}

fn percent(before: Option<&Measure>, after: Option<&Measure>) -> Option<f64> {
    let (before, after) = (waiting(before), waiting(after));
    (before > 0.0 && after > 0.0).then(|| (after - before) / before * 100.0)
}

fn trend(before: Option<&Measure>, after: Option<&Measure>) -> Trend {
    let (was, is) = (waiting(before), waiting(after));
    match (was >= FLOOR, is >= FLOOR) {
        (false, false) => Trend::Same,
        (false, true) if before.is_none() => Trend::New,
        (true, false) if after.is_none() => Trend::Gone,
        _ => {
            let change = (is - was) / was.max(FLOOR) * 100.0;
            if (is - was).abs() < FLOOR || change.abs() <= NOISE {
                Trend::Same
            } else if change > 0.0 {
                Trend::Worse
            } else {
                Trend::Better
            }
        }
    }
}

fn order(a: &LockDiff, b: &LockDiff) -> Ordering {
    let trend = |lock: &LockDiff| match lock.trend {
        // What is new may matter more than what has grown: both are for the worse.
        Trend::Worse | Trend::New => 0,
        Trend::Better | Trend::Gone => 1,
        Trend::Same => 2,
    };
    let weight = |lock: &LockDiff| match lock.trend {
        Trend::Same => waiting(lock.after.as_ref()),
        _ => growth(lock).abs(),
    };
    trend(a)
        .cmp(&trend(b))
        .then_with(|| weight(b).total_cmp(&weight(a)))
        .then_with(|| (&a.id, a.kind).cmp(&(&b.id, b.kind)))
}

#[cfg(test)]
mod tests;
