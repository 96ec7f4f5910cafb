//! Begin of a futex wait. State is accounted at entry: the wait that never ends is the one that matters.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_ns};
use holdup_abi::{
    lock::{LockKey, NO_SLOT},
    thread::{IDLE, RESTART_BLOCK, RESTARTING, Thread, WAITING},
};

use crate::{
    blame,
    count::{Counter, lost},
    filter, hold, lock,
    maps::config,
    sample::{self, Source},
    settle::{EINTR, settle},
    slow,
    task::Own,
    tell, thread,
};

/// A wait operation starts in the current thread.
#[inline(always)]
pub fn begin(source: Source, op: u32, address: u64, value: u32) {
    let id = bpf_get_current_pid_tgid();
    let (tgid, tid) = ((id >> 32) as u32, id as u32);
    if !filter::watches_current(tgid) {
        return;
    }
    let Some(thread) = thread::current(tgid, tid) else {
        lost(Counter::ThreadsFull);
        return;
    };
    // SAFETY: a live map value that only this thread's own events write (and the task iterator, once, before the
    // thread's first event: see `probe::census`).
    let thread = unsafe { &mut *thread };
    let address = slow::address(tid, op, address);
    if thread.state != IDLE && resumes(thread, op, address) {
        return;
    }
    let key = LockKey {
        address,
        tgid,
        generation: thread.generation,
    };
    let cached = if thread.address == address {
        thread.slot
    } else {
        NO_SLOT
    };
    let lock = match lock::in_slot(cached, &key) {
        Some(lock) => lock,
        None => {
            let slot = lock::find_or_create(&key);
            let Some(lock) = lock::even_retired(slot, &key) else {
                lost(Counter::LocksFull);
                return;
            };
            thread.slot = slot;
            thread.address = address;
            lock
        }
    };
    hold::forget(thread, thread.slot);
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    thread.since_ns = now_ns;
    thread.op = op;
    thread.value = value;
    thread.flags = 0;
    thread.state = WAITING;
    thread.run_delay_ns = Own::new().run_delay_ns();
    // SAFETY: `lock` is a live element of the array.
    unsafe {
        let waiters = lock::enter(lock);
        if waiters == 1 {
            blame::contended(thread.slot, now_ns);
        }
        let threshold = u64::from(config!(waiters_threshold));
        if threshold != 0 && waiters >= threshold {
            tell::crossing(lock, thread.slot, waiters, now_ns);
        }
        (*lock).op = op;
        (*lock).value = value;
        slow::begin(lock, thread);
        if config!(sampling) == 1 && sample::is_due(lock, now_ns) {
            sample::wait(source, thread, lock);
        }
    }
}

/// Whether a wait that begins while another is on record is the same one, restarted after a signal. If not, that other
/// one has ended without our seeing it; it is settled here.
#[inline(always)]
fn resumes(thread: &mut Thread, op: u32, address: u64) -> bool {
    if thread.state == RESTARTING {
        if thread.address == address && thread.op == op && thread.flags & RESTART_BLOCK == 0 {
            thread.state = WAITING;
            return true;
        }
        settle(None, thread, EINTR);
    } else {
        lost(Counter::ExitMissed);
        settle(None, thread, EINTR);
    }
    false
}

/// The current thread enters `restart_syscall`, which continues an interrupted wait with a timeout.
#[inline(always)]
pub fn restart() {
    let tid = bpf_get_current_pid_tgid() as u32;
    if let Some(thread) = thread::known(tid) {
        // SAFETY: see `begin`.
        let thread = unsafe { &mut *thread };
        if thread.state == RESTARTING {
            thread.state = WAITING;
        }
    }
}
