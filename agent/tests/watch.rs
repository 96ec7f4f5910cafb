//! Real programs are watched by the real kernel side, and what the views say must be what the programs know.
//!
//! The whole machine is watched, and other tests run on it: only what belongs to the program of the scene is looked at.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may")]

#[path = "watch/scene.rs"]
mod scene;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use holdup::{
    model::{Kind, explanation::Confidence, health::Level, plan::Status},
    watch::{Settings, Why, settings::Probe},
};
use scene::{PATIENCE, Scene, Totals, alone, crowd, quick, rows, until, watch};

#[test]
fn a_crowd_is_named_with_its_holder() {
    let _alone = alone();
    let mut watch = watch(&quick());
    let mut scene = Scene::start();
    let pid = scene.pid();
    let holder: u32 = scene.ask("park 50").parse().unwrap();
    let lock = until(&mut watch, |view| {
        let lock = crowd(view, pid, 50)?;
        let process = view.processes.get(&lock.process)?;
        let is_named = lock.holder.is_some() && lock.site.is_some() && !process.comm.is_empty();
        is_named.then_some((lock, process.clone()))
    });
    let (lock, process) = lock;
    assert_eq!(
        (lock.kind, lock.runtime.as_deref()),
        (Kind::Mutex, Some("glibc"))
    );
    assert_eq!(lock.symbol.as_deref(), Some("crowd"));
    assert!(
        lock.site
            .as_deref()
            .unwrap()
            .starts_with("waits_for_crowd scene.c:"),
        "{lock:?}"
    );
    assert!(lock.id.starts_with("mutex:"), "{lock:?}");
    let found = lock.holder.unwrap();
    assert_eq!((found.tid, found.confidence), (holder, Confidence::Exact));
    assert!(lock.oldest_since_ns.is_some() && !lock.oldest_is_at_least && !lock.abandoned);
    assert_eq!(process.comm, "watch_scene");
    assert_eq!(process.parked, BTreeMap::from([(Kind::Mutex, 50)]));
    assert!(
        process
            .workload
            .cgroup
            .as_deref()
            .is_some_and(|path| path.starts_with('/'))
    );

    assert_eq!(scene.ask("free"), "ok");
    until(&mut watch, |view| {
        let rows = rows(view, pid);
        let row = rows.iter().find(|row| row.kind == Kind::Mutex)?;
        let counts = row.counts.as_ref()?;
        let woken = counts.outcomes.woken;
        (row.waiters == 0 && woken >= 50 && counts.waits() == woken && row.holder.is_none())
            .then_some(())
    });
}

#[test]
fn threads_that_were_parked_before_are_seen() {
    let _alone = alone();
    let mut scene = Scene::start();
    let pid = scene.pid();
    scene.ask("park 20");
    let mut watch = watch(&quick());
    let lock = until(&mut watch, |view| {
        crowd(view, pid, 20).filter(|lock| lock.kind == Kind::Mutex)
    });
    assert!(lock.oldest_is_at_least);
}

#[test]
fn the_kernel_calls_before_the_tick() {
    let _alone = alone();
    let settings = Settings {
        tick: Duration::from_secs(60),
        waiters_threshold: 20,
        ..quick()
    };
    let mut watch = watch(&settings);
    watch.tick().unwrap();
    for _ in 0..2 {
        let mut scene = Scene::start();
        let pid = scene.pid();
        let began = Instant::now();
        scene.ask("park 40");
        // Others on this machine may call too.
        let lock = loop {
            assert!(began.elapsed() < PATIENCE / 2, "not called");
            if watch.wait().unwrap() == Why::Crossed {
                let view = watch.tick().unwrap();
                let found = rows(&view, pid)
                    .into_iter()
                    .find(|lock| lock.waiters >= 20)
                    .cloned();
                if let Some(lock) = found {
                    break lock;
                }
            }
        };
        // It is known what it is as soon as that is found out, long before the next tick.
        let address = lock.address;
        until(&mut watch, |view| {
            let rows = rows(view, pid);
            let known = rows
                .iter()
                .any(|row| row.kind == Kind::Mutex && row.address == address);
            known.then_some(())
        });
        assert!(began.elapsed() < PATIENCE / 2);
        // A second crowd of the same lock calls again.
        scene.ask("free");
        let deadline = Instant::now() + PATIENCE;
        // It takes a second until the kernel side may call for the same lock again.
        std::thread::sleep(Duration::from_millis(1_200));
        while rows(&watch.tick().unwrap(), pid)
            .iter()
            .any(|lock| lock.waiters > 0)
        {
            assert!(Instant::now() < deadline);
        }
        scene.ask("park 40");
        loop {
            assert!(Instant::now() < deadline, "not called again");
            let called = watch.wait().unwrap() == Why::Crossed;
            if called
                && rows(&watch.tick().unwrap(), pid)
                    .iter()
                    .any(|lock| lock.waiters >= 20)
            {
                break;
            }
        }
    }
}

#[test]
fn no_wait_is_lost_or_counted_twice_while_slots_are_taken_back() {
    let _alone = alone();
    let settings = Settings {
        idle: Duration::from_millis(100),
        ..quick()
    };
    let mut watch = watch(&settings);
    let mut scene = Scene::start();
    let pid = scene.pid();
    let mut totals = Totals::default();
    scene.tell("churn 400 8000 50");
    // 2 pairs x 400 words are waited for 8 times in a row, again and again, and are idle in between.
    let (say, said) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let truth: u64 = scene.hear().parse().unwrap();
        say.send(truth).unwrap();
        scene
    });
    let truth = until(&mut watch, |view| {
        totals.add(view);
        said.try_recv().ok()
    });
    let scene = reader.join().unwrap();
    assert!(truth >= 8_000, "the program hardly waited: {truth}");
    until(&mut watch, |view| {
        totals.add(view);
        let waits = rows(view, pid).iter().any(|lock| lock.waiters > 0);
        // The main thread's own wait for the pairs counts too, and is not among those that the program counts.
        (!waits && rows(view, pid).is_empty()).then_some(())
    });
    let loss = watch.tick().unwrap().loss;
    assert_eq!(loss["internal"], 0, "{loss:?}");
    assert_eq!(loss["locks_full"], 0, "{loss:?}");
    // `pthread_join` waits for the end of a thread: at most one wait each for the 4 threads that were started.
    let counted = totals.of(pid);
    assert!(
        (truth..=truth + 4).contains(&counted),
        "{counted} counted, {truth} true, {} rows",
        totals.rows
    );
    // There are 800 words: one that gives its slot back and is waited for again has a new row.
    assert!(
        totals.rows > 1_000,
        "slots were not taken back: {}",
        totals.rows
    );
    drop(scene);
}

#[test]
fn a_process_leaves_nothing_behind() {
    let _alone = alone();
    let mut watch = watch(&quick());
    let mut scene = Scene::start();
    let pid = scene.pid();
    scene.ask("park 30");
    until(&mut watch, |view| crowd(view, pid, 30));
    scene.kill();
    until(&mut watch, |view| {
        let is_gone = rows(view, pid).is_empty() && view.processes.keys().all(|key| key.pid != pid);
        is_gone.then_some(())
    });
}

#[test]
fn thousands_of_short_lives_leave_nothing_behind() {
    let _alone = alone();
    let settings = Settings {
        locks: 4096,
        ..quick()
    };
    let mut watch = watch(&settings);
    let before = watch.fill().locks;
    let mut scene = Scene::start();
    let mut totals = Totals::default();
    scene.tell("forks 5000");
    let (say, said) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        say.send(scene.hear()).unwrap();
        scene
    });
    let told = until(&mut watch, |view| {
        totals.add(view);
        said.try_recv().ok()
    });
    let scene = reader.join().unwrap();
    let truth: BTreeMap<u32, u64> = told
        .split_whitespace()
        .map(|child| {
            let (pid, waits) = child.split_once(':').unwrap();
            (pid.parse().unwrap(), waits.parse().unwrap())
        })
        .collect();
    let loss = until(&mut watch, |view| {
        totals.add(view);
        // A word that nobody has judged yet has no row, but its process is listed.
        let mut left = view.processes.keys();
        let are_gone = left.all(|key| !truth.contains_key(&key.pid));
        are_gone.then(|| view.loss.clone())
    });
    assert_eq!((loss["internal"], loss["locks_full"]), (0, 0), "{loss:?}");
    let wrong: Vec<_> = truth
        .iter()
        // The main thread may have to wait for the other one's end.
        .filter(|&(pid, &waits)| !(waits..=waits + 1).contains(&totals.of(*pid)))
        .map(|(pid, waits)| (*pid, *waits, totals.of(*pid)))
        .collect();
    assert!(wrong.is_empty(), "process, true, counted: {wrong:?}");
    let after = watch.fill();
    assert!(after.locks < before + 2_000, "{before}, then {after:?}");
    drop(scene);
}

#[test]
fn a_deadlock_is_seen_with_both_threads() {
    let _alone = alone();
    let mut watch = watch(&quick());
    let mut scene = Scene::start();
    let said = scene.ask("deadlock");
    let tids: Vec<u32> = said.split(' ').map(|tid| tid.parse().unwrap()).collect();
    let deadlock = until(&mut watch, |view| {
        let is_ours = |text: &str| tids.iter().all(|tid| text.contains(&tid.to_string()));
        let mut found = view.deadlocks.iter();
        found
            .find(|deadlock| is_ours(&format!("{:?}", deadlock.links)))
            .cloned()
    });
    assert_eq!(
        (deadlock.threads, deadlock.links.len()),
        (2, 4),
        "{deadlock:#?}"
    );
    assert_eq!(deadlock.confidence, Confidence::Exact);
    assert!(!deadlock.across_processes);
    // It stays.
    let again = watch.tick().unwrap();
    assert!(!again.deadlocks.is_empty());
}

#[test]
fn without_hooks_the_census_says_the_same() {
    let _alone = alone();
    let settings = Settings {
        probe: Probe::None,
        ..quick()
    };
    let mut watch = watch(&settings);
    assert_eq!(watch.level(), Level::Census);
    let mut scene = Scene::start();
    let pid = scene.pid();
    let holder: u32 = scene.ask("park 50").parse().unwrap();
    let (lock, parked, plan) = until(&mut watch, |view| {
        let lock = crowd(view, pid, 50).filter(|lock| lock.holder.is_some())?;
        let parked = view.processes.get(&lock.process)?.parked.clone();
        Some((lock, parked, view.plan.clone()))
    });
    assert_eq!(
        (lock.kind, lock.symbol.as_deref()),
        (Kind::Mutex, Some("crowd"))
    );
    assert_eq!(lock.holder.unwrap().tid, holder);
    assert!(lock.counts.is_none() && lock.oldest_is_at_least && lock.oldest_since_ns.is_some());
    assert_eq!(parked, BTreeMap::from([(Kind::Mutex, 50)]));
    let attached: Vec<_> = plan
        .iter()
        .filter(|entry| entry.status == Status::Attached)
        .collect();
    assert_eq!(attached.len(), 1, "{attached:?}");
    assert_eq!(attached[0].probe, "task iterator");
    scene.ask("free");
    until(&mut watch, |view| rows(view, pid).is_empty().then_some(()));
}

#[test]
fn levels_are_switched_while_it_runs() {
    let _alone = alone();
    let mut watch = watch(&quick());
    let mut scene = Scene::start();
    let pid = scene.pid();
    scene.ask("park 10");
    for level in [
        Level::NoStacks,
        Level::NoSamples,
        Level::NoDetail,
        Level::Census,
        Level::Full,
    ] {
        watch.set_level(level).unwrap();
        assert_eq!(watch.level(), level);
        let lock = until(&mut watch, |view| {
            crowd(view, pid, 10).filter(|lock| lock.kind == Kind::Mutex)
        });
        assert_eq!(lock.counts.is_none(), level == Level::Census, "{level:?}");
    }
    watch.set_level(Level::Off).unwrap();
    let view = watch.tick().unwrap();
    assert!(view.locks.is_empty() && view.plan.is_empty() && watch.costs().programs.is_empty());
    watch.set_level(Level::Full).unwrap();
    until(&mut watch, |view| crowd(view, pid, 10));
    watch.count_runs(true).unwrap();
    scene.ask("free");
    watch.tick().unwrap();
    let costs = watch.costs();
    assert!(
        costs.map_bytes > 1 << 20 && costs.programs.iter().any(|program| program.runs > Some(0))
    );
}

#[test]
fn hot_locks_are_counted_without_detail_and_still_exactly() {
    let _alone = alone();
    let settings = Settings {
        hot_per_second: 20,
        ..quick()
    };
    let mut watch = watch(&settings);
    let mut scene = Scene::start();
    let pid = scene.pid();
    watch.set_level(Level::NoDetail).unwrap();
    // Of all rows: waits, and those that are in a histogram.
    let counted = |watch: &mut _, scene: &mut Scene, from: u64| {
        scene.tell("churn 1 6000 200");
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(1) {
            let watch: &mut holdup::watch::Watch = watch;
            watch.wait().unwrap();
            watch.tick().unwrap();
        }
        let truth: u64 = from + scene.hear().parse::<u64>().unwrap();
        until(watch, |view| {
            let rows = rows(view, pid);
            let counts = rows.iter().filter_map(|row| row.counts.as_ref());
            let (waits, sorted) = counts.fold((0, 0), |(waits, sorted), counts| {
                let more: u64 = counts.histogram.iter().sum();
                (waits + counts.outcomes.woken, sorted + more)
            });
            (waits >= truth && rows.iter().all(|row| row.waiters == 0)).then_some((waits, sorted))
        })
    };
    let (waits, sorted) = counted(&mut watch, &mut scene, 0);
    assert!(
        sorted < waits / 2,
        "{sorted} of {waits} were counted in detail"
    );
    watch.set_level(Level::Full).unwrap();
    let (more, more_sorted) = counted(&mut watch, &mut scene, waits);
    assert_eq!(more_sorted - sorted, more - waits, "in detail again");
}

#[test]
fn a_process_that_cannot_be_read_holds_nobody_up() {
    let _alone = alone();
    let mut watch = watch(&quick());
    let mut scene = Scene::start();
    assert_eq!(scene.ask("stuck"), "ok", "userfaultfd is needed");
    let mut longest = Duration::ZERO;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let began = Instant::now();
        let view = watch.tick().unwrap();
        longest = longest.max(began.elapsed());
        let waits = rows(&view, scene.pid())
            .iter()
            .any(|lock| lock.waiters == 1);
        if waits && view.loss["reads_timed_out"] >= 1 {
            break;
        }
        assert!(Instant::now() < deadline, "{:?}", view.loss);
        watch.wait().unwrap();
    }
    assert!(longest < Duration::from_secs(2), "a tick took {longest:?}");
    // Others are named all the same.
    let mut other = Scene::start();
    other.ask("park 10");
    until(&mut watch, |view| {
        crowd(view, other.pid(), 10).filter(|lock| lock.kind == Kind::Mutex)
    });
}

/// Own CPU time: of this thread, and of all.
fn cpu() -> (Duration, Duration) {
    let of = |clock| {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `time` is writable, and the clock exists.
        unsafe { libc::clock_gettime(clock, &mut time) };
        Duration::new(
            time.tv_sec.cast_unsigned(),
            u32::try_from(time.tv_nsec).unwrap(),
        )
    };
    (
        of(libc::CLOCK_THREAD_CPUTIME_ID),
        of(libc::CLOCK_PROCESS_CPUTIME_ID),
    )
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[ignore = "measures: to be run alone, with --release --nocapture"]
fn what_many_locks_cost() {
    let settings = Settings {
        tick: Duration::from_secs(1),
        locks: 262_144,
        threads: 65_536,
        ..quick()
    };
    let mut watch = watch(&settings);
    let mut scene = Scene::start();
    println!("at rest: {} KiB resident", resident_kib());
    // Eight waits for each word, in two pairs of threads.
    for (line, what) in [
        ("churn 50000 400000 1", "100,000"),
        ("churn 50000 400000 1", "200,000"),
    ] {
        scene.tell(line);
        let (say, said) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let truth = scene.hear();
            say.send(truth).unwrap();
            scene
        });
        until_long(&mut watch, || said.try_recv().is_ok());
        scene = reader.join().unwrap();
        for state in ["being named", "named"] {
            let (thread, all) = cpu();
            let began = Instant::now();
            let mut views = 0;
            let mut locks = 0;
            while began.elapsed() < Duration::from_secs(10) {
                if watch.wait().unwrap() == Why::Due {
                    locks = watch.tick().unwrap().locks.len();
                    views += 1;
                }
            }
            let (thread_after, all_after) = cpu();
            let share = |after: Duration, before: Duration| {
                100.0 * (after - before).as_secs_f64() / began.elapsed().as_secs_f64()
            };
            println!(
                "{what} live locks, {state}: {locks} rows, {views} views, {:.2} % of a CPU in the watching thread, {:.2} % in all, {} KiB resident, {:?}",
                share(thread_after, thread),
                share(all_after, all),
                resident_kib(),
                watch.fill(),
            );
        }
    }
    println!("maps: {} KiB", watch.costs().map_bytes >> 10);
    let mut crowded = Scene::start();
    crowded.ask("park 20000");
    let pid = crowded.pid();
    let began = Instant::now();
    until(&mut watch, |view| crowd(view, pid, 20_000));
    println!("20,000 threads parked, seen after {:?}", began.elapsed());
    let (thread, all) = cpu();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        if watch.wait().unwrap() == Why::Due {
            watch.tick().unwrap();
        }
    }
    let (thread_after, all_after) = cpu();
    println!(
        "with 20,000 parked threads: {:.2} % of a CPU in the watching thread, {:.2} % in all, {} KiB resident",
        100.0 * (thread_after - thread).as_secs_f64() / began.elapsed().as_secs_f64(),
        100.0 * (all_after - all).as_secs_f64() / began.elapsed().as_secs_f64(),
        resident_kib(),
    );
}

/// Looks once a tick until something is done that takes minutes.
fn until_long(watch: &mut holdup::watch::Watch, mut done: impl FnMut() -> bool) {
    while !done() {
        watch.tick().unwrap();
        watch.wait().unwrap();
    }
}
