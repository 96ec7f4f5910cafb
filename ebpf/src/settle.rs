//! End of a futex wait: it returned, its thread is gone, or a signal broke it off for good.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_ns};
use holdup_abi::{
    config::TARGET_ONE,
    lock::LockKey,
    thread::{
        IDLE, PREEXISTING, RESTART_ALWAYS, RESTART_BLOCK, RESTARTING, SAMPLED, Thread, WAITING,
    },
};

use crate::{
    count::{Counter, lost},
    hold, lock,
    maps::{MORE_THREADS, config},
    sample::{self, Source},
    slow,
    task::Own,
    tell, thread,
};

/// Result codes that never reach user space (`include/linux/errno.h`): the kernel restarts the call, or turns them
/// into `EINTR` when a signal handler runs that does not allow it.
const ERESTARTSYS: i64 = -512;
const ERESTARTNOINTR: i64 = -513;
const ERESTARTNOHAND: i64 = -514;
const ERESTART_RESTARTBLOCK: i64 = -516;
pub const EINTR: i64 = -4;
const SA_RESTART: u64 = 0x1000_0000;

/// A futex system call of the current thread returns `result`.
#[inline(always)]
pub fn end(source: Source, result: i64) {
    let id = bpf_get_current_pid_tgid();
    let (tgid, tid) = ((id >> 32) as u32, id as u32);
    // Spares everybody else the look-up.
    if config!(target_mode) == TARGET_ONE && tgid != config!(target_tgid) {
        return;
    }
    let Some(thread) = thread::known(tid) else {
        return;
    };
    // SAFETY: see `wait::begin`.
    let thread = unsafe { &mut *thread };
    if thread.state != WAITING {
        return;
    }
    if thread.flags & PREEXISTING == 0 {
        conclude(Some(source), thread, result);
    } else {
        end_adopted(tid, result);
    }
}

/// The same for `futex`, whose waits never return more than 0: a positive result is a wake's count of threads, which
/// needs no look at the table.
#[inline(always)]
pub fn end_futex(source: Source, result: i64) {
    if result <= 0 {
        end(source, result);
    }
}

/// Adopted threads are settled by whoever removes the entry from the hash: this thread, or the task iterator when it
/// finds that the thread woke while it was being adopted. A removed element may be somebody else's at once, so the work
/// is done on a copy. It goes back only for a wait that the kernel will restart: the iterator must not meet a new entry.
/// No sample is taken: with the copy, Linux 5.10 has not stack enough, and the agent looked at parked threads when it came.
#[inline(never)]
fn end_adopted(tid: u32, result: i64) {
    let Some(thread) = MORE_THREADS.get_ptr(tid) else {
        return;
    };
    // SAFETY: a live map value.
    let mut thread = unsafe { *thread };
    if MORE_THREADS.remove(tid).is_err() {
        return;
    }
    thread.flags &= !PREEXISTING;
    conclude(None, &mut thread, result);
    if thread.state != IDLE && MORE_THREADS.insert(tid, thread, 0).is_err() {
        lost(Counter::Internal);
    }
}

/// Accounts the return of a wait, or puts it off when the kernel will restart it.
#[inline(always)]
fn conclude(source: Option<Source>, thread: &mut Thread, result: i64) {
    let restart = match result {
        ERESTART_RESTARTBLOCK => RESTART_BLOCK,
        ERESTARTNOINTR => RESTART_ALWAYS,
        ERESTARTSYS | ERESTARTNOHAND => 0,
        _ => return settle(source, thread, result),
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
    let Some(thread) = thread::known(tid) else {
        return;
    };
    // SAFETY: see `wait::begin`.
    let thread = unsafe { &mut *thread };
    let ends = thread.flags & RESTART_ALWAYS == 0
        && (thread.flags & RESTART_BLOCK != 0 || flags & SA_RESTART == 0);
    if thread.state == RESTARTING && ends {
        settle(None, thread, EINTR);
    }
}

/// The current thread ends, or becomes another program: its wait, if any, is over, and so is its entry.
#[inline(always)]
pub fn gone(tid: u32) {
    if let Some(mut thread) = thread::remove(tid)
        && thread.state != IDLE
    {
        // It may not be the current thread that the wait was of.
        thread.run_delay_ns = u64::MAX;
        settle(None, &mut thread, EINTR);
    }
    slow::gone(tid);
}

/// Accounts the end of the wait on record. With a `source`, the thread still has the stack that it waited with: a long
/// wait whose beginning was not sampled, because another one on the same word just had been, is sampled now. What most
/// time is spent on must not be missing.
#[inline(always)]
pub fn settle(source: Option<Source>, thread: &mut Thread, result: i64) {
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let duration_ns = now_ns.saturating_sub(thread.since_ns);
    thread.state = IDLE;
    let key = LockKey {
        address: thread.address,
        tgid: thread.tgid,
        generation: thread.generation,
    };
    let Some(lock) = lock::even_retired(thread.slot, &key) else {
        lost(Counter::Internal);
        return;
    };
    let own = Own::new();
    // It may have been preempted before it slept, or after the look at the clock.
    let ready_ns = match thread.run_delay_ns {
        u64::MAX => 0,
        before => own.run_delay_ns().saturating_sub(before).min(duration_ns),
    };
    // SAFETY: a live element of the array, entered when the wait began.
    unsafe { lock::leave(lock, thread.tid, result, duration_ns, ready_ns, now_ns) };
    // Of locks whose waiters sleep on words of their own, not every release makes a wake call.
    if slow::on_own_word(thread) {
        slow::awake(thread);
    } else if result >= 0 {
        hold::begin(thread, now_ns, own.sleeps());
    }
    if config!(sampling) == 0 {
        return;
    }
    if let Some(source) = source
        && thread.flags & SAMPLED == 0
        && duration_ns >= config!(sample_interval_ns)
    {
        // SAFETY: as above.
        unsafe {
            if sample::is_due(lock, now_ns) {
                sample::wait(source, thread, lock);
            }
        }
    }
    if thread.flags & SAMPLED != 0 {
        tell::wait_end(thread, result, duration_ns);
    }
}
