//! Documents that the tests of all sinks show.

pub mod entry;

use std::collections::BTreeMap;

use crate::model::{
    Capture, Frame, Holder, Kind, Lock, Outcomes, Site, Snapshot,
    bundle::{
        self, Bundle, CgroupFacts, Counts, Flight, Interval, LockMoved, Moved, Pressure,
        ProcessFacts, Recorded, Why,
    },
    capture,
    explanation::Confidence,
    health::Health,
    histogram::Bucket,
    incident::{self, Incident, Reason},
    lock::WaitNs,
    plan::{PlanEntry, Status},
    process::Process,
    snapshot::{self, Thread},
    workload::Workload,
};

const MS: u64 = 1_000_000;

/// A frame of `/usr/bin/MODULE` with source.
pub fn frame(function: &str, file: &str, line: u32) -> Frame {
    Frame {
        function: Some(function.to_owned()),
        module: Some("/usr/bin/confd".to_owned()),
        offset: 0x1000 + u64::from(line),
        file: Some(format!("/build/src/{file}")),
        line: Some(line),
        ..Frame::default()
    }
}

/// A frame of the lock's own machinery.
fn libc(function: &str) -> Frame {
    Frame {
        function: Some(function.to_owned()),
        module: Some("/usr/lib/x86_64-linux-gnu/libc.so.6".to_owned()),
        offset: 0x8_0000 + function.len() as u64,
        ..Frame::default()
    }
}

/// A lock that nobody waited for.
pub fn lock(pid: u32, address: u64, kind: Kind) -> Lock {
    Lock {
        id: format!("5f3a9c01+{address:#x}"),
        pid,
        address,
        kind,
        runtime: None,
        symbol: None,
        site: None,
        waiters: 0,
        waiters_peak: 0,
        waits: 0,
        outcomes: Outcomes::default(),
        value_changed: 0,
        wait_ns: WaitNs::default(),
        oldest_wait_ns: None,
        oldest_is_at_least: false,
        last_handoff_ns: None,
        histogram: Vec::new(),
        sites: Vec::new(),
        holds: None,
        runqueue: None,
        holder: None,
        wakes: 0,
        requeues: 0,
        evidence: "called from pthread_mutex_lock".to_owned(),
        explanation: None,
    }
}

fn buckets(counts: &[(u32, u64)]) -> Vec<Bucket> {
    counts
        .iter()
        .map(|&(log2, count)| Bucket {
            le_ns: Some(1 << log2),
            count,
        })
        .collect()
}

fn site(waits: u64, wait_ns: u64, waiters: u64, frames: Vec<Frame>) -> Site {
    Site {
        waits,
        wait_ns,
        waiters,
        samples: waits.min(100) + waiters,
        frames,
    }
}

fn process(pid: u32, comm: &str, parked: &[(&str, u64)]) -> Process {
    Process {
        pid,
        comm: comm.to_owned(),
        exe: Some(format!("/usr/bin/{comm}")),
        cgroup: Some(format!("/system.slice/{comm}.service")),
        parked: parked
            .iter()
            .map(|&(kind, n)| (kind.to_owned(), n))
            .collect(),
    }
}

fn refresh_stack() -> Vec<Frame> {
    let mut inlined = frame("lock_pool", "pool.h", 31);
    inlined.inlined = true;
    inlined.offset = 0x1000 + 88;
    vec![
        libc("__futex_abstimed_wait_common"),
        libc("pthread_mutex_lock"),
        inlined,
        frame("refresh_config", "config.c", 88),
        frame("handle_request", "server.c", 210),
        frame("worker_main", "server.c", 77),
    ]
}

fn pool_lock() -> Lock {
    let mut reload = vec![
        frame("reload_config", "config.c", 140),
        frame("main", "main.c", 12),
    ];
    reload[1].guessed = true;
    Lock {
        runtime: Some("glibc".to_owned()),
        symbol: Some("pool_lock".to_owned()),
        site: Some("refresh_config config.c:88".to_owned()),
        waiters: 16,
        waiters_peak: 17,
        waits: 41_203,
        outcomes: Outcomes {
            woken: 41_100,
            timed_out: 100,
            interrupted: 3,
            error: 0,
        },
        value_changed: 7,
        wait_ns: WaitNs {
            total: 72_000 * MS,
            max: 9_810 * MS,
        },
        oldest_wait_ns: Some(9_500 * MS),
        last_handoff_ns: Some(9_510 * MS),
        histogram: buckets(&[
            (10, 3),
            (12, 900),
            (13, 9_000),
            (14, 20_000),
            (15, 11_000),
            (16, 290),
            (34, 10),
        ]),
        sites: vec![
            site(40_000, 70_000 * MS, 15, refresh_stack()),
            site(1_203, 2_000 * MS, 1, reload),
        ],
        holder: Some(Holder {
            pid: Some(4242),
            tid: 4245,
            goid: None,
            comm: "worker-3".to_owned(),
            known_by: "glibc mutex owner word".to_owned(),
            confidence: Confidence::Exact,
            since_ns: Some(9_400 * MS),
            since_is_at_least: true,
        }),
        ..lock(4242, 0x4040, Kind::Mutex)
    }
}

fn store_lock() -> Lock {
    let put = "cache::Store<std::basic_string<char>, std::shared_ptr<cache::Entry<int>>, \
               cache::LeastRecentlyUsed>::put(std::basic_string<char> const&, int)";
    let mut stripped = frame("", "", 0);
    stripped.function = None;
    stripped.file = None;
    stripped.line = None;
    Lock {
        runtime: Some("glibc".to_owned()),
        site: Some(format!("{put} store.cc:1201")),
        waiters_peak: 3,
        waits: 12,
        outcomes: Outcomes {
            woken: 12,
            ..Outcomes::default()
        },
        wait_ns: WaitNs {
            total: 48 * MS,
            max: 9 * MS,
        },
        last_handoff_ns: Some(3 * MS),
        histogram: buckets(&[(22, 6), (23, 5), (24, 1)]),
        sites: vec![site(
            12,
            48 * MS,
            0,
            vec![frame(put, "store.cc", 1201), stripped],
        )],
        ..lock(4300, 0x7f12_3456_7890, Kind::RwlockWrite)
    }
}

fn wedged_lock() -> Lock {
    Lock {
        waiters: 1,
        waiters_peak: 1,
        oldest_wait_ns: Some(3_723_000 * MS),
        oldest_is_at_least: true,
        sites: vec![site(0, 0, 1, Vec::new())],
        ..lock(4300, 0x7f12_0000_1000, Kind::Unknown)
    }
}

fn worker(address: u64) -> Lock {
    Lock {
        runtime: Some("glibc".to_owned()),
        site: Some("worker_wait pool.c:40".to_owned()),
        waiters: 1,
        waiters_peak: 1,
        waits: 100,
        outcomes: Outcomes {
            woken: 100,
            ..Outcomes::default()
        },
        wait_ns: WaitNs {
            total: 9_000 * MS,
            max: 200 * MS,
        },
        oldest_wait_ns: Some(10 * MS),
        last_handoff_ns: Some(10 * MS),
        histogram: buckets(&[(27, 100)]),
        sites: vec![site(
            100,
            9_000 * MS,
            1,
            vec![frame("worker_wait", "pool.c", 40)],
        )],
        ..lock(4242, address, Kind::Condvar)
    }
}

fn plan() -> Vec<PlanEntry> {
    let entry = |probe: &str, status, reason: &str| PlanEntry {
        probe: probe.to_owned(),
        status,
        reason: reason.to_owned(),
    };
    vec![
        entry(
            "futex_enter (tracepoint)",
            Status::Attached,
            "accounts waits",
        ),
        entry(
            "futex_enter (fentry)",
            Status::Skipped,
            "the tracepoint is attached",
        ),
        entry(
            "census (task iterator)",
            Status::Unavailable,
            "the kernel refused it: invalid argument; registers of parked threads come from /proc instead",
        ),
    ]
}

fn loss(ring_full: u64) -> BTreeMap<String, u64> {
    [("locks_full", 0), ("ring_full", ring_full)]
        .map(|(name, n)| (name.to_owned(), n))
        .into()
}

/// What a wait that goes on counts for in [`capture()`], which lasted 10 s.
pub fn age_in_capture(lock: &Lock) -> u64 {
    lock.oldest_wait_ns.unwrap_or(0).min(10_000 * MS)
}

/// A recording of two processes: a piled-up mutex, a busy lock, a wedged wait without a stack, idle workers.
pub fn capture() -> Capture {
    Capture {
        go: Vec::new(),
        entry: None,
        schema: capture::SCHEMA.to_owned(),
        started_at: "2026-11-21T12:00:00Z".to_owned(),
        duration_ns: 10_000 * MS,
        plan: plan(),
        loss: loss(12),
        processes: vec![
            process(4242, "confd", &[("mutex", 16), ("condvar", 2)]),
            process(4300, "cachesrv", &[("unknown", 1)]),
        ],
        locks: vec![
            pool_lock(),
            worker(0x5000),
            worker(0x5100),
            store_lock(),
            wedged_lock(),
        ],
        root_blockers: Vec::new(),
        deadlocks: Vec::new(),
    }
}

fn thread(
    tid: u32,
    comm: &str,
    syscall: &str,
    since_ns: Option<u64>,
    frames: Vec<Frame>,
) -> Thread {
    Thread {
        tid,
        pid: 4242,
        comm: comm.to_owned(),
        state: "sleeping".to_owned(),
        syscall: Some(syscall.to_owned()),
        lock: None,
        kind: None,
        since_ns,
        frames,
        alike: None,
    }
}

fn waiting(tid: u32, lock: &Lock, since_ns: Option<u64>, frames: Vec<Frame>) -> Thread {
    Thread {
        lock: Some(lock.address),
        kind: Some(lock.kind),
        ..thread(
            tid,
            &format!("worker-{}", tid % 100),
            "futex",
            since_ns,
            frames,
        )
    }
}

fn now_only(lock: Lock, waiters: u64, oldest_wait_ns: Option<u64>) -> Lock {
    Lock {
        waiters,
        waiters_peak: waiters,
        waits: 0,
        outcomes: Outcomes::default(),
        value_changed: 0,
        wait_ns: WaitNs::default(),
        oldest_wait_ns,
        last_handoff_ns: None,
        histogram: Vec::new(),
        sites: Vec::new(),
        ..lock
    }
}

/// A moment of a process whose mutex is held by a thread that reads from a socket.
pub fn snapshot() -> Snapshot {
    let mut pool = now_only(pool_lock(), 3, Some(3_723_000 * MS));
    pool.oldest_is_at_least = true;
    let idle = now_only(worker(0x5000), 2, Some(40 * MS));
    let mut threads = vec![
        waiting(4243, &pool, Some(3_723_000 * MS), refresh_stack()),
        waiting(4244, &pool, None, refresh_stack()),
        waiting(
            4246,
            &pool,
            Some(2_000 * MS),
            vec![frame("reload_config", "config.c", 140)],
        ),
        waiting(
            4250,
            &idle,
            Some(40 * MS),
            vec![frame("worker_wait", "pool.c", 40)],
        ),
        waiting(
            4251,
            &idle,
            Some(30 * MS),
            vec![frame("worker_wait", "pool.c", 40)],
        ),
        thread(
            4245,
            "worker-3",
            "recvfrom",
            Some(3_724_000 * MS),
            vec![
                frame("fetch_remote", "upstream.c", 51),
                frame("refresh_config", "config.c", 95),
            ],
        ),
    ];
    for tid in 4260..4264 {
        threads.push(thread(
            tid,
            &format!("io-{}", tid - 4260),
            "epoll_wait",
            Some(u64::from(tid) * MS),
            vec![frame("event_loop", "loop.c", 20)],
        ));
    }
    let mut running = thread(4242, "confd", "", None, Vec::new());
    running.state = "running".to_owned();
    running.syscall = None;
    threads.push(running);
    Snapshot {
        go: Vec::new(),
        schema: snapshot::SCHEMA.to_owned(),
        taken_at: "2026-11-21T12:00:00Z".to_owned(),
        duration_ns: 12 * MS,
        plan: plan(),
        loss: loss(0),
        processes: vec![process(4242, "confd", &[("mutex", 3), ("condvar", 2)])],
        locks: vec![pool, idle],
        threads,
        root_blockers: Vec::new(),
        deadlocks: Vec::new(),
    }
}

fn incident(lock: &Lock) -> Incident {
    Incident {
        schema: incident::SCHEMA.to_owned(),
        key: "confd.service/5f3a9c01+0x4040/parked".to_owned(),
        reason: Reason::Parked,
        status: incident::Status::Open,
        opened_at: "2026-11-21T12:00:00.100Z".to_owned(),
        refreshed_at: "2026-11-21T12:00:00.100Z".to_owned(),
        resolved_at: None,
        pid: 4242,
        comm: "confd".to_owned(),
        workload: Workload {
            cgroup: Some("/system.slice/confd.service".to_owned()),
            unit: Some("confd.service".to_owned()),
            ..Workload::default()
        },
        lock: Some(incident::LockRef {
            id: lock.id.clone(),
            address: lock.address,
            kind: lock.kind,
            symbol: lock.symbol.clone(),
            site: lock.site.clone(),
        }),
        who: Default::default(),
        waiters: 3,
        waiters_peak: 3,
        oldest_wait_ns: lock.oldest_wait_ns,
        oldest_is_at_least: true,
        text: "3 threads of confd (4242) wait for mutex `pool_lock`, the oldest for >= 1h 02m; \
               held by thread 4245 `worker-3`, which waits in recvfrom()"
            .to_owned(),
        explanation: None,
        snapshots: vec!["20261121T120000.123Z-parked-confd-4242.json".to_owned()],
        held_back: None,
    }
}

/// The evidence for the moment of [`snapshot`].
pub fn bundle() -> Bundle {
    let lock = pool_lock();
    let snapshot = snapshot();
    let interval = |second: u64, waiters, waits| Interval {
        at: format!("2026-11-21T11:59:{second:02}.000Z"),
        duration_ns: 1_000 * MS,
        process: Some(Moved {
            waiters: waiters + 1,
            waits: waits + 2,
            handoffs: waits,
            wait_ns: (waits + 2) * 7 * MS,
        }),
        locks: vec![LockMoved {
            address: lock.address,
            kind: lock.kind,
            moved: Moved {
                waiters,
                waits,
                handoffs: waits,
                wait_ns: waits * 7 * MS,
            },
        }],
        is_partial: false,
    };
    let mut intervals: Vec<Interval> = (0..40)
        .map(|second| interval(10 + second, 0, 40 - second / 2))
        .collect();
    intervals.extend((0..10).map(|second| interval(50 + second, second / 3, 0)));
    Bundle {
        schema: bundle::SCHEMA.to_owned(),
        taken_at: "2026-11-21T12:00:00.123Z".to_owned(),
        why: Why::Opened,
        incident: incident(&snapshot.locks[0]),
        snapshot: Some(snapshot),
        locks: vec![Recorded {
            id: lock.id.clone(),
            address: lock.address,
            kind: lock.kind,
            symbol: lock.symbol.clone(),
            site: lock.site.clone(),
            waiters: 3,
            waiters_peak: 17,
            oldest_wait_ns: Some(3_723_000 * MS),
            oldest_is_at_least: true,
            counts: Some(Counts {
                waits: lock.waits,
                outcomes: lock.outcomes,
                value_changed: lock.value_changed,
                wakes: 41_100,
                wait_ns: lock.wait_ns,
                last_handoff_ns: lock.last_handoff_ns,
                histogram: lock.histogram.clone(),
            }),
        }],
        locks_left_out: 0,
        flight: Flight { intervals },
        process: Some(ProcessFacts {
            pid: 4242,
            comm: "confd".to_owned(),
            exe: Some("/usr/bin/confd".to_owned()),
            threads: Some(11),
            resident_bytes: Some(120 << 20),
            swapped_bytes: Some(0),
            max_files: Some(1024),
            max_threads: None,
            oom_score_adj: Some(0),
        }),
        cgroup: Some(CgroupFacts {
            path: "/system.slice/confd.service".to_owned(),
            memory_bytes: Some(500 << 20),
            memory_max_bytes: Some(512 << 20),
            oom: Some(2),
            oom_kills: Some(1),
            cpu_max_milli: Some(1_500),
            cpu_throttled: Some(12),
            cpu_throttled_ns: Some(800 * MS),
            tasks: Some(11),
            tasks_max: Some(4915),
            pressure: BTreeMap::from([(
                "cpu".to_owned(),
                Pressure {
                    some_10s: 1_250,
                    some_60s: 310,
                    full_10s: Some(0),
                    full_60s: None,
                },
            )]),
        }),
        loss: loss(3),
        health: Health {
            started_at: "2026-11-20T08:00:00.000Z".to_owned(),
            ..Health::default()
        },
        limits: bundle::Limits {
            deadline_ns: 10_000 * MS,
            took_ns: 214 * MS,
            ceiling: 20_000,
            threads: 11,
            stacks: 10,
            notes: Vec::new(),
        },
    }
}
