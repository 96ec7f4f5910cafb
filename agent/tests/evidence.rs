//! A bundle of a real process with thousands of parked threads: everybody counted, within its time, and small.
//!
//! `cargo test -p holdup --test evidence -- --ignored --nocapture` measures ten thousand.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests may")]

#[path = "evidence/target.rs"]
mod target;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use holdup::{
    evidence::{Collector, Request, Settings},
    model::{
        Bundle, Kind, Lock, Snapshot,
        bundle::{Flight, Why},
        health::Health,
        incident::{self, Incident, LockRef, Reason, Status},
        snapshot::Thread,
        watch::View,
        workload::Workload,
    },
    probe::feature::Features,
    sink::{Document, Format, store, table},
};
use target::{Hung, Target};

fn request(target: &Target) -> Request {
    request_for(target.pid, target.address, target.waiters.len() as u64)
}

fn request_for(pid: u32, address: u64, waiters: u64) -> Request {
    let incident = Incident {
        schema: incident::SCHEMA.to_owned(),
        key: "test".to_owned(),
        reason: Reason::Parked,
        status: Status::Open,
        opened_at: "2026-11-21T12:00:00.000Z".to_owned(),
        refreshed_at: "2026-11-21T12:00:00.000Z".to_owned(),
        resolved_at: None,
        pid,
        comm: "primitives".to_owned(),
        workload: Workload::default(),
        lock: Some(LockRef {
            id: "test".to_owned(),
            address,
            kind: Kind::Mutex,
            symbol: None,
            site: None,
        }),
        who: Default::default(),
        waiters,
        waiters_peak: waiters,
        oldest_wait_ns: None,
        oldest_is_at_least: false,
        text: "threads wait".to_owned(),
        explanation: None,
        snapshots: Vec::new(),
        held_back: None,
    };
    Request {
        why: Why::Opened,
        incident,
        view: Arc::new(View {
            at_ns: 0,
            at: SystemTime::now(),
            processes: BTreeMap::new(),
            locks: Vec::new(),
            deadlocks: Vec::new(),
            plan: Arc::from([]),
            loss: BTreeMap::new(),
        }),
        flight: Flight::default(),
        health: Health::default(),
    }
}

fn collector(ceiling: usize) -> Collector {
    let settings = Settings {
        ceiling,
        deadline: Duration::from_secs(120),
        ..Settings::default()
    };
    Collector::new(settings, Features::detect())
}

/// The lock that all wait for, with everybody counted at the place where they do.
fn check_counts<'a>(snapshot: &'a Snapshot, target: &Target) -> &'a Lock {
    let waiters = target.waiters.len() as u64;
    let own = |lock: &&Lock| lock.pid == target.pid && lock.address == target.address;
    let lock = snapshot.locks.iter().find(own).unwrap();
    assert_eq!((lock.kind, lock.waiters), (Kind::Mutex, waiters));
    assert_eq!(lock.holder.as_ref().unwrap().tid, target.holder);
    let at_sites: u64 = lock.sites.iter().map(|site| site.waiters).sum();
    assert_eq!(at_sites, waiters, "{:?}", lock.sites);
    let waiting = snapshot
        .threads
        .iter()
        .filter(|it| it.lock == Some(target.address));
    assert_eq!(waiting.map(Thread::count).sum::<u64>(), waiters);
    // The main thread and the holder are there by their own names.
    assert_eq!(snapshot.thread_count(), waiters + 2);
    for tid in [target.pid, target.holder] {
        let thread = snapshot.threads.iter().find(|it| it.tid == tid).unwrap();
        assert_eq!(thread.count(), 1);
    }
    lock
}

fn with_stack(lock: &Lock) -> u64 {
    let named = lock.sites.iter().filter(|site| {
        let mut names = site.frames.iter().filter_map(|it| it.function.as_deref());
        names.any(|name| name == "app_take_mutex")
    });
    named.map(|site| site.waiters).sum()
}

/// A directory that is removed in the end.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn store(name: &str) -> (store::Store, Directory) {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let store = store::Store::new(store::Settings {
        directory: directory.clone(),
        min_free_bytes: 0,
        ..store::Settings::default()
    });
    (store, Directory(directory))
}

fn put_and_read(bundle: &Bundle, name: &str) -> (Document, usize) {
    let (store, _directory) = store(name);
    let name = store.put(bundle).unwrap();
    let bytes = store.open(&name).unwrap();
    (Document::parse(&bytes).unwrap(), bytes.len())
}

#[test]
fn two_thousand_threads_are_counted_exactly_and_kept_in_little() {
    let target = Target::park(2_000);
    let bundle = collector(20_000).collect(request(&target));
    let lock = check_counts(bundle.snapshot.as_ref().unwrap(), &target);
    assert_eq!(with_stack(lock), 2_000, "{:?}", bundle.limits);
    assert_eq!(bundle.limits.threads, 2_002);
    assert_eq!(bundle.process.as_ref().unwrap().threads, Some(2_002));
    let (document, bytes) = put_and_read(&bundle, "evidence-2000");
    assert!(bytes < 256 * 1024, "{bytes} bytes");
    assert_eq!(document, Document::Bundle(Box::new(bundle)));
    let options = table::Options {
        width: 80,
        colour: false,
        top: 20,
    };
    let text = document.render(Format::Table, &options).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("2,000 threads wait for 1 lock"), "{text}");
    assert!(text.contains("and 1,999 more"), "{text}");
}

#[test]
fn over_the_ceiling_stacks_are_sampled_and_nobody_is_uncounted() {
    let target = Target::park(1_000);
    let bundle = collector(500).collect(request(&target));
    let lock = check_counts(bundle.snapshot.as_ref().unwrap(), &target);
    let sampled = with_stack(lock);
    assert_eq!(sampled, 256, "{:?}", bundle.limits);
    assert_eq!(bundle.limits.stacks, 256 + 2);
    let notes = &bundle.limits.notes;
    let says = |text: &str| notes.iter().any(|note| note.contains(text));
    assert!(says("1,002 threads are more than 500"), "{notes:?}");
    assert!(says("744 threads without a stack"), "{notes:?}");
}

/// Reading it never ends: the thread that does so is left behind, and no more of them than may be.
#[test]
fn a_process_that_cannot_be_read_costs_its_deadline_and_no_more() {
    let hung = Hung::start();
    let settings = Settings {
        deadline: Duration::from_secs(3),
        max_abandoned: 2,
        ..Settings::default()
    };
    let collector = Collector::new(settings, Features::detect());
    let note = |bundle: &Bundle| bundle.limits.notes.concat();
    for left in 1..=2_usize {
        let bundle = collector.collect(request_for(hung.pid(), 0, 1));
        assert_eq!(bundle.snapshot, None);
        assert!(
            note(&bundle).contains("could not be read in time"),
            "{:?}",
            bundle.limits
        );
        assert_eq!(bundle.process.as_ref().unwrap().threads, Some(2));
        assert_eq!(
            (collector.abandoned(), collector.workers()),
            (left as u64, left)
        );
    }
    let bundle = collector.collect(request_for(hung.pid(), 0, 1));
    assert!(note(&bundle).contains("2 threads are at work or were left behind"));
    assert_eq!((collector.abandoned(), collector.workers()), (2, 2));
    // They come back when it is gone.
    drop(hung);
    let end = Instant::now() + Duration::from_secs(60);
    while collector.workers() > 0 {
        assert!(Instant::now() < end, "they never came back");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
#[ignore = "measures"]
fn measure_ten_thousand() {
    let target = Target::park(10_000);
    let collector = collector(20_000);
    for _ in 0..3 {
        let began = Instant::now();
        let bundle = collector.collect(request(&target));
        let collected = began.elapsed();
        check_counts(bundle.snapshot.as_ref().unwrap(), &target);
        let (store, _directory) = store("evidence-10000");
        let began = Instant::now();
        let name = store.put(&bundle).unwrap();
        let written = began.elapsed();
        let bytes = store.open(&name).unwrap().len();
        println!("collected in {collected:?}, {bytes} bytes on disk in {written:?}");
        println!("{:?}", bundle.limits);
    }
}
