//! Fields of `task_struct`, at the offsets that the agent found in the kernel's BTF.

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_probe_read_kernel};
use core::ffi::c_void;
use holdup_abi::config::{CLOCK_UNKNOWN, CONTROL_CLOCK, NO_OFFSET};

use crate::maps::{CONTROL, config};

#[inline(always)]
fn read<T: Default>(task: *const u8, offset: u32) -> Option<T> {
    if offset == NO_OFFSET {
        return None;
    }
    let mut value = T::default();
    // SAFETY: the destination is one `T`; the helper checks the source.
    let failed = unsafe {
        bpf_probe_read_kernel(
            (&raw mut value).cast(),
            size_of::<T>() as u32,
            task.wrapping_add(offset as usize) as *const c_void,
        )
    };
    (failed == 0).then_some(value)
}

#[inline(always)]
pub fn read_u32(task: *const u8, offset: u32) -> Option<u32> {
    read(task, offset)
}

#[inline(always)]
pub fn read_u64(task: *const u8, offset: u32) -> Option<u64> {
    read(task, offset)
}

/// Tells programs apart that ran under the same process id: the process's start time and how often it executed a new
/// program, folded to 32 bits. 0 where the fields are not known.
#[inline(always)]
pub fn generation(task: *const u8) -> u32 {
    let Some(leader) = read_u64(task, config!(task.group_leader)) else {
        return 0;
    };
    let start = read_u64(leader as *const u8, config!(task.start_time)).unwrap_or(0);
    let execs = read_u32(task, config!(task.self_exec_id)).unwrap_or(0);
    (start as u32 ^ (start >> 32) as u32).wrapping_add(execs)
}

/// How often the current thread has gone to sleep, low bits; 0 where the kernel does not tell.
#[inline(always)]
pub fn sleeps() -> u32 {
    read_u64(current(), config!(task.sleeps)).unwrap_or(0) as u32
}

/// Time that the current thread has spent ready to run without a processor, in nanoseconds; `u64::MAX` where the kernel
/// does not tell (`CONFIG_SCHED_INFO`).
#[inline(always)]
pub fn run_delay_ns() -> u64 {
    read_u64(current(), config!(task.run_delay)).unwrap_or(u64::MAX)
}

/// Whether the current thread got its processor after `since_ns`, so that it was without one for a while; `false` where the
/// kernel does not tell.
#[inline(always)]
pub fn has_been_off_cpu(since_ns: u64) -> bool {
    /// The agent has not measured it yet.
    const NOT_SET: u64 = 0;
    let offset = control(CONTROL_CLOCK);
    match read_u64(current(), config!(task.last_arrival)) {
        Some(arrival) if offset != CLOCK_UNKNOWN && offset != NOT_SET => {
            arrival.wrapping_add(offset) > since_ns
        }
        _ => false,
    }
}

/// What the agent has said.
#[inline(always)]
pub fn control(element: u32) -> u64 {
    // SAFETY: a live array element.
    CONTROL
        .get_ptr(element)
        .map_or(0, |value| unsafe { *value })
}

/// The current task as a plain address.
#[inline(always)]
pub fn current() -> *const u8 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_get_current_task() as *const u8 }
}
