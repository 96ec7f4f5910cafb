//! `holders MODE`: locks that do not say whose they are, with a holder that the program knows.
//!
//! `ready` -> go -> `held_up` {address, holder, not, waiters, `gap_ns`, `beats_first`} -> go -> `beat` {gaps} -> go
//! -> leaves
//!
//! `holder` is the thread that has the lock, 0 when none does; `not` are threads that a guess could name by mistake.
//! `gap_ns` (see `heartbeat.h`) is of the time before `ready`, since a recording can begin there.
//! Threads that are to stay out of the way sleep in a read of a socket, never in a futex.

#[expect(dead_code, reason = "the scenes here are of another kind")]
#[path = "handshake.rs"]
mod handshake;

use std::{
    io::Read as _,
    os::unix::net::UnixStream,
    process,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread,
};

use handshake::{
    await_go, await_parked, die, heart, say, say_beat, start_heartbeat, thread_id, until,
};

static STD: Mutex<u64> = Mutex::new(0);

/// Who came last out of a call for the lock.
static GOT: AtomicU32 = AtomicU32::new(0);
/// Whether whoever gets the lock keeps it.
static KEEP: AtomicBool = AtomicBool::new(true);
static LET_GO: AtomicBool = AtomicBool::new(false);
/// Whether whoever gets the lock works on and on.
static SPIN: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);

mod app {
    use super::*;

    /// Sleeps for good, in no futex.
    #[inline(never)]
    pub fn read_for_ever() {
        let Ok((mut near, far)) = UnixStream::pair() else {
            die("socketpair")
        };
        let _ = near.read(&mut [0]);
        drop(far);
    }

    /// Takes the lock; keeps it if that is the fashion.
    #[inline(never)]
    pub fn work_std() {
        let mut guard = STD.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *guard += 1;
        GOT.store(thread_id(), Ordering::Release);
        if KEEP.load(Ordering::Acquire) {
            read_for_ever();
        }
        drop(guard);
        COUNT.fetch_add(1, Ordering::AcqRel);
    }

    /// The same with the other library's, wherever it lies.
    #[inline(never)]
    pub fn work(lock: &parking_lot::Mutex<u64>) {
        let mut guard = lock.lock();
        *guard += 1;
        GOT.store(thread_id(), Ordering::Release);
        if SPIN.load(Ordering::Acquire) {
            spin_for_ever();
        } else {
            read_for_ever();
        }
        drop(guard);
    }

    /// Works for good, in no system call.
    #[inline(never)]
    pub fn spin_for_ever() {
        while SPIN.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
    }

    /// Takes the lock elsewhere.
    #[inline(never)]
    pub fn work_elsewhere(lock: &parking_lot::Mutex<u64>) {
        let guard = lock.lock();
        GOT.store(thread_id(), Ordering::Release);
        read_for_ever();
        drop(guard);
    }

    /// Takes the lock and leaves with it: nothing on the stack tells of it then.
    #[inline(never)]
    pub fn take_and_go_on(lock: &parking_lot::Mutex<u64>) {
        take(lock);
        read_for_ever();
    }

    #[inline(never)]
    fn take(lock: &parking_lot::Mutex<u64>) {
        std::mem::forget(lock.lock());
        GOT.store(thread_id(), Ordering::Release);
    }

    /// Has the lock's address, and has taken and given back another lock: it could have had this one.
    #[inline(never)]
    pub fn take_another(lock: &parking_lot::Mutex<u64>) {
        let near = [std::hint::black_box(&raw const *lock); 4];
        let own = parking_lot::Mutex::new(0_u64);
        *own.lock() += 1;
        read_for_ever();
        std::hint::black_box(near);
    }

    /// Has the lock's address, and nothing to do with the lock.
    #[inline(never)]
    pub fn look_on(lock: &parking_lot::Mutex<u64>) {
        let near = [std::hint::black_box(&raw const *lock); 4];
        read_for_ever();
        std::hint::black_box(near);
    }
}

/// Starts a thread and tells its id.
fn spawn(body: impl FnOnce() + Send + 'static) -> u32 {
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let _ = sender.send(thread_id());
        body();
    });
    let mut tid = 0;
    until("a thread did not start", || {
        tid = receiver.try_recv().unwrap_or(tid);
        tid != 0
    });
    tid
}

/// Waits until a thread is in a call that reads.
fn await_reading(tid: u32) {
    let path = format!("/proc/self/task/{tid}/syscall");
    let calls = if cfg!(target_arch = "aarch64") {
        ["63 ", "207 "]
    } else {
        ["0 ", "45 "]
    };
    until("a thread does not read", || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        calls.iter().any(|call| text.starts_with(call))
    });
}

fn await_end(tid: u32) {
    let path = format!("/proc/self/task/{tid}");
    until("a thread does not end", || {
        !std::path::Path::new(&path).exists()
    });
}

/// Threads that wait, one after the other.
fn enqueue(count: usize, body: fn()) -> Vec<u32> {
    (0..count)
        .map(|_| {
            let tid = spawn(body);
            await_parked(tid);
            tid
        })
        .collect()
}

/// Takes the lock, and lets go when told to.
fn first_std() {
    let guard = STD.lock();
    GOT.store(thread_id(), Ordering::Release);
    while !LET_GO.load(Ordering::Acquire) {
        thread::sleep(std::time::Duration::from_millis(1));
    }
    drop(guard);
    app::read_for_ever();
}

fn await_got(tid: u32) {
    until("a thread did not get the lock", || {
        GOT.load(Ordering::Acquire) == tid
    });
}

struct Scene {
    address: u64,
    holder: u32,
    not: Vec<u32>,
    waiters: Vec<u32>,
}

fn std_address() -> u64 {
    &raw const STD as u64
}

/// One lets go, the first in line gets the lock and keeps it.
fn handed_on() -> Scene {
    let first = spawn(first_std);
    await_got(first);
    let mut waiters = enqueue(3, app::work_std);
    LET_GO.store(true, Ordering::Release);
    until("nobody got the lock", || {
        GOT.load(Ordering::Acquire) != first
    });
    let holder = GOT.load(Ordering::Acquire);
    await_reading(holder);
    waiters.retain(|tid| *tid != holder);
    Scene {
        address: std_address(),
        holder,
        not: vec![first],
        waiters,
    }
}

/// The one who was given the lock has let go of it while nobody waited; then another one took it.
fn passed_on() -> Scene {
    KEEP.store(false, Ordering::Release);
    let first = spawn(first_std);
    await_got(first);
    let given = spawn(|| {
        app::work_std();
        app::read_for_ever();
    });
    await_parked(given);
    LET_GO.store(true, Ordering::Release);
    await_got(given);
    until("it is not let go", || COUNT.load(Ordering::Acquire) == 1);
    await_reading(given);
    await_reading(first);
    KEEP.store(true, Ordering::Release);
    let holder = spawn(app::work_std);
    await_got(holder);
    await_reading(holder);
    Scene {
        address: std_address(),
        holder,
        not: vec![first, given],
        waiters: enqueue(3, app::work_std),
    }
}

/// The holder is where the others want to be; somebody else only knows of the lock.
fn past_the_call() -> Scene {
    held_in(app::work)
}

/// The holder is where the others want to be, and never sleeps.
fn on_cpu() -> Scene {
    SPIN.store(true, Ordering::Release);
    let lock: &'static parking_lot::Mutex<u64> = Box::leak(Box::default());
    let holder = spawn(|| app::work(lock));
    await_got(holder);
    Scene {
        address: &raw const *lock as u64,
        holder,
        not: Vec::new(),
        waiters: workers(lock),
    }
}

/// One of the other library's lets go, the first in line gets the lock and keeps it, where no stack tells.
fn handed_on_parking_lot() -> Scene {
    let lock: &'static parking_lot::Mutex<u64> = Box::leak(Box::default());
    let first = spawn(|| {
        let guard = lock.lock();
        GOT.store(thread_id(), Ordering::Release);
        while !LET_GO.load(Ordering::Acquire) {
            thread::sleep(std::time::Duration::from_millis(1));
        }
        drop(guard);
        app::read_for_ever();
    });
    await_got(first);
    let mut waiters: Vec<u32> = (0..3)
        .map(|_| {
            let tid = spawn(|| app::take_and_go_on(lock));
            await_parked(tid);
            tid
        })
        .collect();
    LET_GO.store(true, Ordering::Release);
    until("nobody got the lock", || {
        GOT.load(Ordering::Acquire) != first
    });
    let holder = GOT.load(Ordering::Acquire);
    await_reading(holder);
    waiters.retain(|tid| *tid != holder);
    Scene {
        address: &raw const *lock as u64,
        holder,
        not: vec![first],
        waiters,
    }
}

/// The holder has taken the lock in another function than the others want to.
fn elsewhere() -> Scene {
    held_in(app::work_elsewhere)
}

fn held_in(work: fn(&parking_lot::Mutex<u64>)) -> Scene {
    let lock: &'static parking_lot::Mutex<u64> = Box::leak(Box::default());
    let not = vec![spawn(|| app::look_on(lock))];
    let holder = spawn(move || work(lock));
    await_got(holder);
    await_reading(holder);
    not.iter().copied().for_each(await_reading);
    Scene {
        address: &raw const *lock as u64,
        holder,
        not,
        waiters: workers(lock),
    }
}

/// Three that wait for `lock` in [`app::work`].
fn workers(lock: &'static parking_lot::Mutex<u64>) -> Vec<u32> {
    let worker = |_| {
        let tid = spawn(|| app::work(lock));
        await_parked(tid);
        tid
    };
    (0..3).map(worker).collect()
}

/// Nobody has it any more, and two threads are equally suspicious.
fn nobody() -> Scene {
    let lock: &'static parking_lot::Mutex<u64> = Box::leak(Box::default());
    let gone = spawn(|| std::mem::forget(lock.lock()));
    await_end(gone);
    let not: Vec<u32> = (0..2).map(|_| spawn(|| app::take_another(lock))).collect();
    not.iter().copied().for_each(await_reading);
    Scene {
        address: &raw const *lock as u64,
        holder: 0,
        not,
        waiters: workers(lock),
    }
}

type Mode = (&'static str, fn() -> Scene);

const MODES: &[Mode] = &[
    ("handed_on", handed_on),
    ("passed_on", passed_on),
    ("past_the_call", past_the_call),
    ("on_cpu", on_cpu),
    ("handed_on_parking_lot", handed_on_parking_lot),
    ("elsewhere", elsewhere),
    ("nobody", nobody),
];

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let Some((_, play)) = MODES.iter().find(|(name, _)| *name == wanted) else {
        die("usage: holders MODE")
    };
    start_heartbeat();
    say(format_args!(
        r#"{{"event":"ready","pid":{}}}"#,
        process::id()
    ));
    await_go();
    let Scene {
        address,
        holder,
        not,
        waiters,
    } = play();
    say(format_args!(
        r#"{{"event":"held_up","address":"{address:#x}","holder":{holder},"not":{not:?},"waiters":{waiters:?},{}}}"#,
        heart(),
    ));
    await_go();
    say_beat();
    await_go();
    process::exit(0)
}
