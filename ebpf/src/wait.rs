//! Begin and end of a futex wait. State is accounted at entry: the wait that never ends is the one that matters.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_ns};
use holdup_abi::{
    lock::{LockKey, NO_SLOT},
    thread::{
        IDLE, PREEXISTING, RESTART_ALWAYS, RESTART_BLOCK, RESTARTING, SAMPLED, Thread, WAITING,
    },
};

use crate::{
    count::{Counter, lost},
    filter, lock,
    maps::{THREADS, config},
    sample::{self, Source},
    thread,
};

/// Result codes that never reach user space (`include/linux/errno.h`): the kernel restarts the call, or turns them
/// into `EINTR` when a signal handler runs that does not allow it.
const ERESTARTSYS: i64 = -512;
const ERESTARTNOINTR: i64 = -513;
const ERESTARTNOHAND: i64 = -514;
const ERESTART_RESTARTBLOCK: i64 = -516;
const EINTR: i64 = -4;
const SA_RESTART: u64 = 0x1000_0000;

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
            let Some(lock) = lock::in_slot(slot, &key) else {
                lost(Counter::LocksFull);
                return;
            };
            thread.slot = slot;
            thread.address = address;
            lock
        }
    };
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    thread.since_ns = now_ns;
    thread.op = op;
    thread.value = value;
    thread.flags = 0;
    thread.state = WAITING;
    // SAFETY: `lock` is a live element of the array.
    unsafe {
        lock::enter(lock);
        (*lock).op = op;
        (*lock).value = value;
        if config!(sampling) == 1 && now_ns >= (*lock).next_sample_ns {
            (*lock).next_sample_ns = now_ns.wrapping_add(config!(sample_interval_ns));
            sample::emit(source, thread, lock, tid);
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
        settle(thread, EINTR);
    } else {
        lost(Counter::ExitMissed);
        settle(thread, EINTR);
    }
    false
}

/// The current thread enters `restart_syscall`, which continues an interrupted wait with a timeout.
#[inline(always)]
pub fn restart() {
    let tid = bpf_get_current_pid_tgid() as u32;
    if let Some(thread) = THREADS.get_ptr_mut(tid) {
        // SAFETY: see `begin`.
        let thread = unsafe { &mut *thread };
        if thread.state == RESTARTING {
            thread.state = WAITING;
        }
    }
}

/// A futex system call of the current thread returns `result`.
#[inline(always)]
pub fn end(result: i64) {
    let tid = bpf_get_current_pid_tgid() as u32;
    let Some(thread) = THREADS.get_ptr_mut(tid) else {
        return;
    };
    // SAFETY: see `begin`.
    let thread = unsafe { &mut *thread };
    if thread.state != WAITING {
        return;
    }
    if thread.flags & PREEXISTING == 0 {
        conclude(thread, result);
    } else {
        end_adopted(tid, *thread, result);
    }
}

/// The same for `futex`, whose waits never return more than 0: a positive result is a wake's count of threads, which
/// needs no look at the table.
#[inline(always)]
pub fn end_futex(result: i64) {
    if result <= 0 {
        end(result);
    }
}

/// Adopted threads are settled by whoever removes the entry from the table: this thread, or the task iterator when it
/// finds that the thread woke while it was being adopted. A removed element may be somebody else's at once, so the work
/// is done on a copy. It goes back only for a wait that the kernel will restart: the iterator must not meet a new entry.
#[inline(never)]
fn end_adopted(tid: u32, mut thread: Thread, result: i64) {
    if THREADS.remove(tid).is_err() {
        return;
    }
    thread.flags &= !PREEXISTING;
    conclude(&mut thread, result);
    if thread.state != IDLE && THREADS.insert(tid, thread, 0).is_err() {
        lost(Counter::Internal);
    }
}

/// Accounts the return of a wait, or puts it off when the kernel will restart it.
#[inline(always)]
fn conclude(thread: &mut Thread, result: i64) {
    let restart = match result {
        ERESTART_RESTARTBLOCK => RESTART_BLOCK,
        ERESTARTNOINTR => RESTART_ALWAYS,
        ERESTARTSYS | ERESTARTNOHAND => 0,
        _ => return settle(thread, result),
    };
    thread.state = RESTARTING;
    thread.flags = thread.flags & !(RESTART_BLOCK | RESTART_ALWAYS) | restart;
}

/// A signal is delivered to the current thread: a handler without `SA_RESTART` ends an interrupted wait.
#[inline(always)]
pub fn signal(handler: u64, flags: u64) {
    /// `SIG_DFL` and `SIG_IGN` run no handler.
    const LAST_NON_HANDLER: u64 = 1;
    if handler <= LAST_NON_HANDLER {
        return;
    }
    let tid = bpf_get_current_pid_tgid() as u32;
    let Some(thread) = THREADS.get_ptr_mut(tid) else {
        return;
    };
    // SAFETY: see `begin`.
    let thread = unsafe { &mut *thread };
    let ends = thread.flags & RESTART_ALWAYS == 0
        && (thread.flags & RESTART_BLOCK != 0 || flags & SA_RESTART == 0);
    if thread.state == RESTARTING && ends {
        settle(thread, EINTR);
    }
}

/// The current thread ends, or becomes another program: its wait, if any, is over, and so is its entry.
#[inline(always)]
pub fn gone(tid: u32) {
    let Some(thread) = THREADS.get_ptr_mut(tid) else {
        return;
    };
    // SAFETY: see `begin`. A copy, since a removed element may be somebody else's at once.
    let mut thread = unsafe { *thread };
    if THREADS.remove(tid).is_ok() && thread.state != IDLE {
        settle(&mut thread, EINTR);
    }
}

/// Accounts the end of the wait on record.
#[inline(always)]
fn settle(thread: &mut Thread, result: i64) {
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let duration_ns = now_ns.saturating_sub(thread.since_ns);
    thread.state = IDLE;
    let key = LockKey {
        address: thread.address,
        tgid: thread.tgid,
        generation: thread.generation,
    };
    let Some(lock) = lock::in_slot(thread.slot, &key) else {
        lost(Counter::Internal);
        return;
    };
    // SAFETY: a live element of the array, entered when the wait began.
    unsafe { lock::leave(lock, result, duration_ns, now_ns) };
    if thread.flags & SAMPLED != 0 {
        sample::end(thread, result, duration_ns);
    }
}
