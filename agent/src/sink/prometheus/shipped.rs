//! The rules and the dashboard that are shipped ask for metrics that there are.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use holdup_abi::lock::BUCKETS;

use super::{Format, Http, Settings, Totals};
use crate::model::{
    Kind, Outcomes,
    health::{Cost, Health, Loop, Program, Queue},
    incident::{Incident, Reason, SCHEMA, Status},
    watch::{Counts, Lock, Process, ProcessKey, View},
    workload::Workload,
};

const FILES: [(&str, &str); 4] = [
    ("alerts.yaml", include_str!("../../../deploy/alerts.yaml")),
    (
        "dashboard.json",
        include_str!("../../../deploy/dashboard.json"),
    ),
    (
        "recording.yaml",
        include_str!("../../../deploy/recording.yaml"),
    ),
    (
        "rules.test.yaml",
        include_str!("../../../deploy/rules.test.yaml"),
    ),
];

/// A node on which there is something of everything.
fn view() -> View {
    let key = ProcessKey {
        pid: 1,
        generation: 1,
    };
    let counts = Counts {
        outcomes: Outcomes {
            woken: 1,
            ..Outcomes::default()
        },
        value_changed: 0,
        wakes: 1,
        wait_ns: 1,
        wait_max_ns: 1,
        last_handoff_ns: Some(1),
        histogram: std::array::from_fn(|bucket| u64::from(bucket == BUCKETS / 2)),
    };
    let lock = Lock {
        process: key,
        address: 64,
        id: "lock".into(),
        kind: Kind::Mutex,
        runtime: None,
        symbol: None,
        site: Some("site".into()),
        waiters: 1,
        waiters_peak: 1,
        oldest_since_ns: Some(1),
        oldest_is_at_least: false,
        seen_ns: None,
        holder: None,
        abandoned: false,
        counts: Some(Box::new(counts)),
    };
    let process = Process {
        key,
        comm: "server".to_owned(),
        parked: BTreeMap::from([(Kind::Mutex, 1)]),
        go: None,
        ..Process::default()
    };
    View {
        at_ns: 2,
        at: SystemTime::UNIX_EPOCH,
        processes: BTreeMap::from([(key, process)]),
        locks: vec![lock.into()],
        deadlocks: Vec::new(),
        plan: Arc::from([]),
        loss: BTreeMap::from([("ring_full".to_owned(), 1)]),
    }
}

/// An agent that tells everything of itself.
fn health() -> Health {
    let name = "one".to_owned();
    Health {
        loops: vec![Loop {
            name: name.clone(),
            ..Loop::default()
        }],
        programs: vec![Program {
            name: name.clone(),
            runs: Some(1),
            run_ns: Some(1),
        }],
        queues: vec![Queue {
            name,
            ..Queue::default()
        }],
        cost: Cost {
            bpf_share: Some(0.5),
            ..Cost::default()
        },
        ..Health::default()
    }
}

fn incident() -> Incident {
    Incident {
        schema: SCHEMA.to_owned(),
        key: "key".to_owned(),
        reason: Reason::Parked,
        status: Status::Open,
        opened_at: String::new(),
        refreshed_at: String::new(),
        resolved_at: None,
        pid: 1,
        comm: "server".to_owned(),
        workload: Workload::default(),
        lock: None,
        who: Default::default(),
        waiters: 1,
        waiters_peak: 1,
        oldest_wait_ns: None,
        oldest_is_at_least: false,
        text: String::new(),
        explanation: None,
        snapshots: Vec::new(),
        held_back: None,
    }
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'
}

#[test]
fn every_metric_that_is_asked_for_is_written() {
    let mut totals = Totals::new(Settings::default());
    totals.observe(&Arc::new(view()));
    let exposition = totals.scrape(&health(), &[incident()], Http::default());
    let text = exposition.encode(Format::Prometheus).unwrap();
    let written: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    for (file, text) in FILES {
        // Recorded series have a colon in front.
        let words = text.split(|letter| !is_of_name(letter));
        let asked: Vec<&str> = words.filter(|word| word.starts_with("holdup_")).collect();
        assert!(asked.len() > 5, "{file}: only {asked:?} were found");
        for name in asked {
            assert!(written.contains(&name), "{file}: {name}");
        }
    }
}
