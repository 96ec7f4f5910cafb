//! Threads that fork, end, or become another program with locks in their hands.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid, macros::raw_tracepoint, programs::RawTracePointContext,
};
use holdup_abi::{
    entry::{ASKED, EVENT_EXIT_HOLDING, EVENT_FORK_HOLDING, Thread},
    lock::NO_SLOT,
};

use super::{
    ask,
    event::{self, Told},
    lock,
    place::{Call, NONE, at, is_valid, now_ns},
};
use crate::{
    maps::{ENTRY_THREADS, config},
    regs,
};

/// System call by which a thread ends itself alone.
#[cfg(bpf_target_arch = "x86_64")]
const EXIT: i64 = 60;
#[cfg(bpf_target_arch = "aarch64")]
const EXIT: i64 = 93;

/// The process is about to be copied. Each lock is told once.
#[inline(always)]
pub fn fork(thread: &mut Thread, call: &Call) {
    for index in 0..NONE {
        let place = at(thread, index);
        if is_valid(place, call.tid)
            && let Some(lock) = lock::in_slot(place.slot)
            // SAFETY: a live array element.
            && unsafe { lock::first(lock, EVENT_FORK_HOLDING) }
        {
            event::send(
                thread,
                &Told {
                    held: index,
                    ..Told::of(EVENT_FORK_HOLDING, call)
                },
            );
        }
    }
}

/// `sched_process_exit(struct task_struct *)`, in the context of the thread that ends.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn entry_thread_exit(_context: RawTracePointContext) -> i32 {
    let tid = bpf_get_current_pid_tgid() as u32;
    if let Some(thread) = ENTRY_THREADS.get_ptr_mut(tid) {
        // SAFETY: a live map value that only the current thread's events write.
        let thread = unsafe { &mut *thread };
        // Not when the whole process ends, by itself or by a signal: then nobody is kept waiting.
        let alone = config!(has_task_regs) == 1
            && regs::current().is_some_and(|regs| regs.syscall() == EXIT);
        gone(thread, tid, alone);
        let _ = ENTRY_THREADS.remove(tid);
    }
    0
}

#[inline(always)]
fn gone(thread: &mut Thread, tid: u32, alone: bool) {
    let now_ns = now_ns();
    for index in 0..NONE {
        let place = at(thread, index);
        if place.state == ASKED {
            ask::leave(place);
        } else if alone && is_valid(place, tid) {
            let held_ns = now_ns.saturating_sub(place.since_ns);
            event::send(
                thread,
                &Told {
                    what: EVENT_EXIT_HOLDING,
                    held: index,
                    other: NO_SLOT,
                    tid,
                    now_ns,
                    held_ns,
                    regs: &event::NOWHERE,
                    edge: &event::NO_EDGE,
                },
            );
        }
    }
}

/// `sched_process_exec(struct task_struct *, pid_t old_pid, struct linux_binprm *)`: the locks are gone with the memory.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn entry_process_exec(context: RawTracePointContext) -> i32 {
    let _ = ENTRY_THREADS.remove(context.arg::<u32>(1));
    let _ = ENTRY_THREADS.remove((bpf_get_current_pid_tgid() >> 32) as u32);
    0
}
