//! The Rust workloads' side of the protocol of `truth.h`; included by each of them as a module.

#[path = "basics.rs"]
mod basics;

use std::{
    process,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

pub use basics::{await_go, await_parked, die, say, thread_id, until};

/// Id of the thread that holds the lock, and permission for it to let go. Spins politely: no futex is involved.
pub static HOLDER: AtomicU32 = AtomicU32::new(0);
static RELEASE: AtomicU32 = AtomicU32::new(0);
static FINISHED: AtomicU32 = AtomicU32::new(0);

/// Called by the holder once it is in possession; returns when the test wants it to let go.
pub fn keep() {
    HOLDER.store(thread_id(), Ordering::Release);
    while RELEASE.load(Ordering::Acquire) == 0 {
        thread::sleep(Duration::from_millis(1));
    }
}

/// As in `heartbeat.h`: the gaps, from and until, between the beats of a thread that only naps and looks at the clock.
static GAPS: Mutex<Vec<[u64; 2]>> = Mutex::new(Vec::new());
static LONGEST_GAP_NS: AtomicU64 = AtomicU64::new(0);
/// The longest one before anybody watched.
static QUIET_GAP_NS: AtomicU64 = AtomicU64::new(0);
static BEATS: AtomicU64 = AtomicU64::new(0);
static BEATS_FIRST: AtomicBool = AtomicBool::new(false);

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    /// `param` leads to a `struct sched_param`, which is one `int`.
    fn sched_setscheduler(pid: i32, policy: i32, param: *const i32) -> i32;
    fn clock_gettime(clock: i32, now: *mut Timespec) -> i32;
}

/// The clock that all processes share.
fn monotonic_ns() -> u64 {
    const CLOCK_MONOTONIC: i32 = 1;
    let mut now = Timespec {
        seconds: 0,
        nanoseconds: 0,
    };
    // SAFETY: `now` is written only during the call.
    if unsafe { clock_gettime(CLOCK_MONOTONIC, &raw mut now) } != 0 {
        die("clock_gettime");
    }
    now.seconds.unsigned_abs() * 1_000_000_000 + now.nanoseconds.unsigned_abs()
}

/// Nobody waits for these for long: they are touched when there was a gap, and when they are told.
fn gaps() -> MutexGuard<'static, Vec<[u64; 2]>> {
    GAPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the heartbeat, ahead of all other threads where that is permitted. Nobody is to watch yet.
pub fn start_heartbeat() {
    const SCHED_FIFO: i32 = 1;
    const LEAST_GAP_NS: u64 = 20_000_000;
    thread::spawn(|| {
        let priority = 2;
        // SAFETY: 0 is the calling thread, and `priority` is read only during the call.
        let result = unsafe { sched_setscheduler(0, SCHED_FIFO, &raw const priority) };
        BEATS_FIRST.store(result == 0, Ordering::Release);
        let mut before_ns = monotonic_ns();
        loop {
            thread::sleep(Duration::from_millis(1));
            let now_ns = monotonic_ns();
            LONGEST_GAP_NS.fetch_max(now_ns - before_ns, Ordering::AcqRel);
            if now_ns - before_ns >= LEAST_GAP_NS {
                gaps().push([before_ns, now_ns]);
            }
            before_ns = now_ns;
            BEATS.fetch_add(1, Ordering::AcqRel);
        }
    });
    until("the heart does not beat", || {
        BEATS.load(Ordering::Acquire) >= 100
    });
    QUIET_GAP_NS.store(LONGEST_GAP_NS.load(Ordering::Acquire), Ordering::Release);
    gaps().clear();
}

/// The fields of an event that tell of the time before anybody watched, when there is a heartbeat.
pub fn heart() -> String {
    let gap_ns = QUIET_GAP_NS.load(Ordering::Acquire);
    let beats_first = BEATS_FIRST.load(Ordering::Acquire);
    format!(r#""gap_ns":{gap_ns},"beats_first":{beats_first}"#)
}

/// The event that tells of the time since.
pub fn say_beat() {
    let before = BEATS.load(Ordering::Acquire);
    until("the heart has stopped", || {
        BEATS.load(Ordering::Acquire) >= before + 2
    });
    let gaps = gaps();
    say(format_args!(r#"{{"event":"beat","gaps":{gaps:?}}}"#));
}

/// One way to wait.
pub struct Mode {
    /// Name on the command line.
    pub name: &'static str,
    /// Kind that a report must show.
    pub kind: &'static str,
    /// Function that a report must name.
    pub function: &'static str,
    /// Address of the lock; 0 when it has no object that the program can name.
    pub address: fn() -> usize,
    /// Holds the lock; calls [`keep`].
    pub hold: fn(),
    /// Waits for it and gives it back.
    pub take: fn(),
}

/// Runs `MODE WAITERS [heartbeat]` as `primitives.c` does; with a heartbeat, `parked` tells of it, and a `beat` comes
/// before the `truth`.
pub fn run(modes: &[Mode]) -> ! {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(mode), Some(Ok(count))) = (
        modes
            .iter()
            .find(|mode| Some(mode.name) == arguments.first().map(String::as_str)),
        arguments.get(1).map(|count| count.parse::<usize>()),
    ) else {
        die("usage: MODE WAITERS [heartbeat]");
    };
    let pid = process::id();
    say(format_args!(r#"{{"event":"ready","pid":{pid}}}"#));
    await_go();
    thread::spawn(mode.hold);
    until("the holder did not get the lock", || {
        HOLDER.load(Ordering::Acquire) != 0
    });
    let (sender, tids) = std::sync::mpsc::channel();
    for _ in 0..count {
        let (sender, take) = (sender.clone(), mode.take);
        thread::spawn(move || {
            let _ = sender.send(thread_id());
            take();
            FINISHED.fetch_add(1, Ordering::AcqRel);
        });
    }
    // `try_recv`: waiting for the channel would be a futex wait of the main thread.
    let mut waiters = Vec::new();
    until("a waiter did not start", || {
        waiters.extend(tids.try_iter());
        waiters.len() == count
    });
    let mut word = String::new();
    for tid in &waiters {
        word = await_parked(*tid);
    }
    let beats = arguments
        .get(2)
        .is_some_and(|argument| argument == "heartbeat");
    if beats {
        start_heartbeat();
    }
    let address = match (mode.address)() {
        0 => word.clone(),
        address => format!("{address:#x}"),
    };
    let (kind, function) = (mode.kind, mode.function);
    say(format_args!(
        r#"{{"event":"parked","pid":{pid},"kind":"{kind}","function":"{function}","address":"{address}","futex":"{word}","holder":null,"holder_truth":{},"waiters":{waiters:?},{}}}"#,
        HOLDER.load(Ordering::Acquire),
        heart(),
    ));
    await_go();
    if beats {
        say_beat();
        await_go();
    }
    RELEASE.store(1, Ordering::Release);
    until("a waiter did not come back", || {
        FINISHED.load(Ordering::Acquire) as usize == count
    });
    say(format_args!(
        r#"{{"event":"truth","woken":{count},"timed_out":0}}"#
    ));
    await_go();
    process::exit(0)
}
