//! Threads that end, fork, execute or get a signal. Raw tracepoints: their arguments are the kernel's own, whereas the
//! layout of the formatted records changed between versions.

use aya_ebpf::{
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, generated::bpf_probe_read_kernel},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use core::ffi::c_void;

use crate::{filter, golang, maps::config, settle, task};

/// `sched_process_exit(struct task_struct *)`, in the context of the thread that ends.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit(_context: RawTracePointContext) -> i32 {
    let id = bpf_get_current_pid_tgid();
    settle::gone(id as u32);
    golang::ended((id >> 32) as u32);
    0
}

/// `sched_process_exec(struct task_struct *, pid_t old_pid, struct linux_binprm *)`. A thread that is not the leader
/// takes over the leader's id, so both ids' entries are void; so are cached lock slots.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn process_exec(context: RawTracePointContext) -> i32 {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    settle::gone(context.arg::<u32>(1));
    settle::gone(tgid);
    golang::ended(tgid);
    if config!(match_comm) == 1
        && let Ok(comm) = bpf_get_current_comm()
        && matches_comm(&comm)
    {
        filter::add_target(tgid);
    }
    0
}

#[inline(always)]
fn matches_comm(comm: &[u8; 16]) -> bool {
    let wanted: [u8; 16] = config!(target_comm);
    for index in 0..16 {
        if comm[index] != wanted[index] {
            return false;
        }
        if comm[index] == 0 {
            return true;
        }
    }
    true
}

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn process_fork(context: RawTracePointContext) -> i32 {
    let parent = (bpf_get_current_pid_tgid() >> 32) as u32;
    if config!(follow_forks) == 1
        && filter::is_target(parent)
        && let Some(child) = task::read_u32(context.arg::<*const u8>(1), config!(task.tgid))
        && child != parent
    {
        filter::add_target(child);
    }
    0
}

/// `signal_deliver(int sig, struct kernel_siginfo *, struct k_sigaction *)`. The action begins with the handler and
/// the flags, 8 bytes each, on both architectures.
#[raw_tracepoint(tracepoint = "signal_deliver")]
pub fn signal_deliver(context: RawTracePointContext) -> i32 {
    let mut action = [0u64; 2];
    // SAFETY: the destination is 16 bytes long; the helper checks the source.
    let failed = unsafe {
        bpf_probe_read_kernel(
            action.as_mut_ptr().cast(),
            16,
            context.arg::<*const c_void>(2),
        )
    };
    if failed == 0 {
        settle::signal(action[0], action[1]);
    }
    0
}
