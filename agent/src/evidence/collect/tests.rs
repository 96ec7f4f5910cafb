use std::{collections::BTreeMap, sync::mpsc::channel};

use super::*;
use crate::sink::fixture;

fn collector(max_abandoned: usize) -> Collector {
    let settings = Settings {
        max_abandoned,
        deadline: Duration::from_secs(60),
        ..Settings::default()
    };
    Collector::new(settings, Features::detect())
}

fn view(pid: u32) -> Arc<View> {
    Arc::new(View {
        at_ns: 0,
        at: SystemTime::UNIX_EPOCH,
        processes: BTreeMap::from([(
            watch::ProcessKey { pid, generation: 3 },
            watch::Process::default(),
        )]),
        locks: Vec::new(),
        deadlocks: Vec::new(),
        plan: Arc::from([]),
        loss: BTreeMap::from([("threads_lost".to_owned(), 5)]),
    })
}

fn request(pid: u32) -> Request {
    let mut incident = fixture::bundle().incident;
    incident.pid = pid;
    let event = Event {
        change: Change::Opened { again: false },
        incident,
    };
    let recorder = Recorder::new(&crate::evidence::flight::Settings::default());
    Request::of(&event, &view(pid), &recorder, Health::default()).unwrap()
}

#[test]
fn threads_left_behind_are_bounded_and_come_back() {
    let collector = collector(2);
    let (hold, held) = channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    for _ in 0..2 {
        let held = Arc::clone(&held);
        collector
            .start(move || {
                // Hangs until the test lets go.
                let _ = held.lock().unwrap().recv();
            })
            .unwrap();
    }
    assert_eq!(collector.workers(), 2);
    let bundle = collector.collect(request(1));
    assert_eq!((bundle.snapshot, collector.abandoned()), (None, 0));
    assert_eq!(
        bundle.limits.notes,
        ["no snapshot: 2 threads are at work or were left behind in processes that hang"]
    );
    assert_eq!(bundle.loss["threads_lost"], 5);
    drop(hold);
    while collector.workers() > 0 {
        thread::yield_now();
    }
    let bundle = collector.collect(request(std::process::id()));
    assert!(bundle.process.is_some(), "{:?}", bundle.limits);
}

#[test]
fn what_does_not_come_in_time_is_left() {
    let (sender, receiver) = mpsc::sync_channel(2);
    let facts = ProcessFacts {
        pid: 7,
        ..ProcessFacts::default()
    };
    sender
        .send(Part::Facts(Box::new((Some(facts.clone()), None))))
        .unwrap();
    let mut notes = Vec::new();
    let (found, is_late) = receive(&receiver, Instant::now(), &mut notes);
    assert!(is_late && found.snapshot.is_none());
    assert_eq!(found.process, Some(facts));
    assert_eq!(notes.len(), 1);
    // A thread that panics sends nothing any more.
    let mut notes = Vec::new();
    drop(sender);
    let far = Instant::now() + Duration::from_secs(600);
    let (_, is_late) = receive(&receiver, far, &mut notes);
    assert!(!is_late && notes[0].contains("a bug"), "{notes:?}");
}

#[test]
fn a_process_that_is_gone_leaves_what_was_seen_of_it() {
    let bundle = collector(1).collect(request(u32::MAX - 1));
    assert_eq!((bundle.process, bundle.cgroup), (None, None));
    assert_eq!(bundle.incident.pid, u32::MAX - 1);
    assert_eq!(bundle.limits.threads, 0);
}

#[test]
fn only_what_is_new_or_has_doubled_is_worth_a_bundle() {
    let recorder = Recorder::new(&crate::evidence::flight::Settings::default());
    let why = |change| {
        let event = Event {
            change,
            incident: fixture::bundle().incident,
        };
        let request = Request::of(&event, &view(4242), &recorder, Health::default());
        request.map(|request| request.why)
    };
    assert_eq!(why(Change::Opened { again: false }), Some(Why::Opened));
    assert_eq!(why(Change::Opened { again: true }), None, "it has one");
    assert_eq!(why(Change::Doubled), Some(Why::Doubled));
    assert_eq!(
        (why(Change::Refreshed), why(Change::Resolved)),
        (None, None)
    );
}
