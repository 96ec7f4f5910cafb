use super::*;
use crate::{
    model::{Capture, diff::Side},
    sink::{Report, fixture, golden, json, table::Options},
};

const OPTIONS: Options = Options {
    width: 80,
    colour: false,
    top: 20,
};

fn capture() -> Document {
    Document::Report(Report::Capture(fixture::capture()))
}

fn snapshot() -> Document {
    Document::Report(Report::Snapshot(fixture::snapshot()))
}

fn bundle() -> Document {
    Document::Bundle(Box::new(fixture::bundle()))
}

/// The same recording on another day: one lock worse, one gone, a new one.
fn changed() -> Document {
    let mut capture: Capture = fixture::capture();
    let mut new = capture.locks[0].clone();
    new.id = "a-new-one".to_owned();
    new.symbol = Some("new_lock".to_owned());
    new.waiters = 0;
    let lock = &mut capture.locks[0];
    lock.waits *= 2;
    lock.wait_ns.total *= 2;
    lock.wait_ns.max += 1_000_000_000;
    capture.locks.retain(|lock| lock.kind != Kind::Unknown);
    capture.locks.push(new);
    Document::Report(Report::Capture(capture))
}

#[test]
fn nothing_has_changed() {
    for document in [capture(), snapshot(), bundle()] {
        let diff = compare(&document, &document);
        assert!(diff.locks.iter().all(|lock| lock.trend == Trend::Same));
        assert_eq!(worse(&diff, 0.0).count(), 0);
    }
}

#[test]
fn golden_comparisons() {
    let diff = compare(&capture(), &changed());
    let trends: Vec<Trend> = diff.locks.iter().map(|lock| lock.trend).collect();
    assert_eq!(trends, [Trend::Worse, Trend::New, Trend::Gone, Trend::Same]);
    golden::check("diff.txt", &table(&diff, &OPTIONS));
    let text = String::from_utf8(json::render(&diff).unwrap()).unwrap();
    golden::check("diff.json", &text);
    golden::check(
        "diff-snapshots.txt",
        &table(&compare(&capture(), &snapshot()), &OPTIONS),
    );
    golden::check(
        "diff-bundle.txt",
        &table(&compare(&snapshot(), &bundle()), &OPTIONS),
    );
}

#[test]
fn rates_take_the_length_into_account() {
    let long = match capture() {
        Document::Report(Report::Capture(mut capture)) => {
            capture.duration_ns *= 4;
            for lock in &mut capture.locks {
                lock.waits *= 4;
                lock.wait_ns.total *= 4;
                lock.waiters = 0;
            }
            capture
        }
        _ => panic!("no capture"),
    };
    let mut short = fixture::capture();
    for lock in &mut short.locks {
        lock.waiters = 0;
    }
    let diff = compare(
        &Document::Report(Report::Capture(short)),
        &Document::Report(Report::Capture(long)),
    );
    assert!(
        diff.locks.iter().all(|lock| lock.trend == Trend::Same),
        "{diff:?}"
    );
    let lock = diff.locks.iter().find(|it| it.name == "pool_lock").unwrap();
    let waits = fixture::capture().locks[0].waits as f64;
    let seconds = fixture::capture().duration_ns as f64 / 1e9;
    let rate = lock.after.unwrap().waits_per_second.unwrap();
    assert!((rate - waits / seconds).abs() < 1e-6, "{rate}");
}

fn lock(before: Option<f64>, after: Option<f64>) -> LockDiff {
    let measure = |waiting| Measure {
        waiting,
        ..Measure::default()
    };
    let (before, after) = (before.map(measure), after.map(measure));
    LockDiff {
        id: "x".to_owned(),
        kind: Kind::Mutex,
        name: "x".to_owned(),
        trend: trend(before.as_ref(), after.as_ref()),
        change_percent: percent(before.as_ref(), after.as_ref()),
        before,
        after,
    }
}

#[test]
fn trends_and_findings() {
    let side = || Side {
        document: String::new(),
        at: String::new(),
        duration_ns: None,
    };
    let failing = |lock: LockDiff, percent: f64| {
        let diff = Diff {
            schema: SCHEMA.to_owned(),
            before: side(),
            after: side(),
            locks: vec![lock],
        };
        worse(&diff, percent).count() == 1
    };
    for (before, after, trend, fails_at_50) in [
        (Some(1.0), Some(1.05), Trend::Same, false),
        (Some(1.0), Some(1.2), Trend::Worse, false),
        (Some(1.0), Some(1.6), Trend::Worse, true),
        (Some(1.0), Some(0.5), Trend::Better, false),
        (None, Some(1.0), Trend::New, true),
        (Some(0.0), Some(1.0), Trend::Worse, true),
        (Some(1.0), None, Trend::Gone, false),
        (Some(1.0), Some(0.0), Trend::Better, false),
        (None, Some(0.001), Trend::Same, false),
        (Some(0.001), Some(0.009), Trend::Same, false),
        (None, None, Trend::Same, false),
    ] {
        let lock = lock(before, after);
        assert_eq!(lock.trend, trend, "{before:?} -> {after:?}");
        assert_eq!(failing(lock, 50.0), fails_at_50, "{before:?} -> {after:?}");
    }
}
