//! Fields of `task_struct`, at the offsets that the agent found in the kernel's BTF.

use aya_ebpf::helpers::generated::{
    bpf_get_current_task, bpf_get_current_task_btf, bpf_probe_read_kernel,
};
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

/// The current thread, for its own account of its time. Where the helper for typed pointers exists its fields are plain
/// loads: a checked read costs ten times as much.
pub struct Own(*const u8);

impl Own {
    #[inline(always)]
    pub fn new() -> Self {
        if config!(has_task_regs) == 1 {
            // SAFETY: a helper without arguments (Linux 5.11).
            return Self(unsafe { bpf_get_current_task_btf() } as *const u8);
        }
        Self(current())
    }

    #[inline(always)]
    fn read(&self, offset: u32) -> Option<u64> {
        if config!(has_task_regs) == 0 {
            return read_u64(self.0, offset);
        }
        if offset == NO_OFFSET {
            return None;
        }
        // SAFETY: a field of the kernel's own type: the verifier checks the offset, the kernel survives a bad pointer.
        Some(unsafe { core::ptr::read_volatile(self.0.add(offset as usize).cast()) })
    }

    /// How often it has gone to sleep, low bits; 0 where the kernel does not tell.
    #[inline(always)]
    pub fn sleeps(&self) -> u32 {
        self.read(config!(task.sleeps)).unwrap_or(0) as u32
    }

    /// Time that it has spent ready to run without a processor, in nanoseconds; `u64::MAX` where the kernel does not tell
    /// (`CONFIG_SCHED_INFO`).
    #[inline(always)]
    pub fn run_delay_ns(&self) -> u64 {
        self.read(config!(task.run_delay)).unwrap_or(u64::MAX)
    }
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
