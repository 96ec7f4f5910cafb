//! Waits of goroutines, accounted per semaphore like those of threads per futex word.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{bpf_ktime_get_ns, bpf_probe_read_user},
};
use core::ffi::c_void;
use holdup_abi::{
    golang::{Goroutine, SEMAPHORE, Wait},
    lock::{Lock, LockKey},
    record::WAIT_SAMPLE,
    thread::Thread,
};

use crate::{
    count::{Counter, add, lost},
    filter, lock,
    maps::{GO_ENDED, GO_WAITS, config},
    sample::{self, Event, Source},
    settle::EINTR,
    task, tell,
    thread::{self, NOEXIST},
};

/// The goroutine `g` of the current process parks on the semaphore at `address`.
#[inline(always)]
pub fn begin(source: Source, g: u64, address: u64) {
    let id = bpf_get_current_pid_tgid();
    let (tgid, tid) = ((id >> 32) as u32, id as u32);
    if !filter::watches_current(tgid) {
        return;
    }
    let key = LockKey {
        address,
        tgid,
        generation: generation(tid),
    };
    let slot = lock::find_or_create(&key);
    let Some(lock) = lock::even_retired(slot, &key) else {
        lost(Counter::LocksFull);
        return;
    };
    let goroutine = Goroutine {
        g,
        tgid,
        padding: 0,
    };
    let wait = Wait {
        key,
        // SAFETY: a helper without arguments.
        since_ns: unsafe { bpf_ktime_get_ns() },
        slot,
        tid,
        sampled: 0,
        padding: 0,
    };
    if GO_WAITS.insert(&goroutine, &wait, NOEXIST).is_err() && !replace(&goroutine, &wait) {
        return;
    }
    // SAFETY: `lock` is a live element of the array.
    unsafe {
        lock::enter(lock);
        (*lock).op = SEMAPHORE;
        if config!(sampling) == 1
            && sample::is_due(lock, wait.since_ns)
            && self::sample(source, &wait, lock)
            && let Some(wait) = GO_WAITS.get_ptr_mut(&goroutine)
        {
            (*wait).sampled = 1;
        }
    }
}

/// See [`LockKey::generation`]. Threads that run goroutines have been in a futex before, as a rule: then it is known.
#[inline(always)]
fn generation(tid: u32) -> u32 {
    match thread::known(tid) {
        // SAFETY: a live map value, only read.
        Some(thread) => unsafe { (*thread).generation },
        None => task::generation(task::current()),
    }
}

/// Puts the wait of a goroutine on record that has one on record already. Returns whether it is another one.
#[inline(never)]
fn replace(goroutine: &Goroutine, wait: &Wait) -> bool {
    if let Some(stale) = GO_WAITS.get_ptr(goroutine) {
        // SAFETY: a live map value, copied at once.
        let stale = unsafe { *stale };
        // The function began anew on a larger stack.
        if stale.key == wait.key {
            return false;
        }
        // Not of a program that ran under this process id before.
        if stale.key.generation == wait.key.generation {
            lost(Counter::GoEndMissed);
        }
        settle(&stale, EINTR);
    }
    let is_there = GO_WAITS.insert(goroutine, wait, 0).is_ok();
    if !is_there {
        lost(Counter::GoWaitsFull);
    }
    is_there
}

/// Sends a sample of the current goroutine's stack. Returns whether there was room for it.
///
/// # Safety
/// `lock` is a live element of the lock array.
#[inline(never)]
unsafe fn sample(source: Source, wait: &Wait, lock: *mut Lock) -> bool {
    let thread = Thread {
        tid: wait.tid,
        tgid: wait.key.tgid,
        generation: wait.key.generation,
        op: SEMAPHORE,
        ..Default::default()
    };
    let event = Event {
        kind: WAIT_SAMPLE,
        slot: wait.slot,
        address: wait.key.address,
        since_ns: wait.since_ns,
        held_ns: 0,
        off_cpu: 0,
    };
    let is_sent = sample::emit(source, &thread, &event);
    if is_sent {
        // SAFETY: the caller's promise.
        unsafe { add(&raw mut (*lock).samples, 1) };
    }
    is_sent
}

/// The goroutine whose `runtime.sudog` this is becomes ready. Its first field is the goroutine.
#[inline(always)]
pub fn end_of_sudog(sudog: u64) {
    let mut g = 0u64;
    // SAFETY: the destination is 8 bytes long; the helper checks the source.
    let failed = unsafe { bpf_probe_read_user((&raw mut g).cast(), 8, sudog as *const c_void) };
    if failed == 0 {
        end(g);
    } else if filter::watches_current((bpf_get_current_pid_tgid() >> 32) as u32) {
        lost(Counter::GoUnreadable);
    }
}

/// The goroutine `g` of the current process becomes ready, whatever it was parked for.
#[inline(always)]
pub fn end(g: u64) {
    let goroutine = Goroutine {
        g,
        tgid: (bpf_get_current_pid_tgid() >> 32) as u32,
        padding: 0,
    };
    let Some(wait) = GO_WAITS.get_ptr(&goroutine) else {
        return;
    };
    // SAFETY: a live map value, copied at once: a removed element may be somebody else's.
    let wait = unsafe { *wait };
    if GO_WAITS.remove(&goroutine).is_ok() {
        settle(&wait, 0);
    }
}

/// Accounts the end of a wait.
#[inline(never)]
fn settle(wait: &Wait, result: i64) {
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let duration_ns = now_ns.saturating_sub(wait.since_ns);
    let Some(lock) = lock::even_retired(wait.slot, &wait.key) else {
        lost(Counter::Internal);
        return;
    };
    // SAFETY: a live element of the array, entered when the wait began. No thread was released.
    unsafe {
        lock::leave(lock, 0, result, duration_ns, 0, now_ns);
        if result == 0 {
            add(&raw mut (*lock).wakes, 1);
        }
    }
    if wait.sampled == 1 {
        let thread = Thread {
            tid: wait.tid,
            since_ns: wait.since_ns,
            ..Default::default()
        };
        tell::wait_end(&thread, result, duration_ns);
    }
}

/// A thread of this process ends, or becomes another program: waits of goroutines are over with the last one.
#[inline(always)]
pub fn ended(tgid: u32) {
    if config!(goroutines) == 1 && filter::watches_current(tgid) {
        // SAFETY: a helper without arguments.
        let now_ns = unsafe { bpf_ktime_get_ns() };
        // Without it the agent takes the time at which it looks.
        let _ = GO_ENDED.insert(&tgid, &now_ns, 0);
    }
}
