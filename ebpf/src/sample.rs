//! Samples: registers and a piece of the user stack, for the agent to unwind.

use aya_ebpf::helpers::generated::{
    bpf_get_current_comm, bpf_get_stack, bpf_probe_read_user, bpf_ringbuf_output,
};
use core::ffi::c_void;
use holdup_abi::{
    config::{CONTROL_LEAVE_OUT, LEAVE_OUT_SAMPLES, LEAVE_OUT_STACKS},
    lock::Lock,
    record::{STACK_ADDRESSES, STACK_BYTES, STACK_MEMORY, WAIT_SAMPLE, WaitSample},
    thread::{SAMPLED, Thread},
};

use crate::{
    count::{Counter, add, lost},
    maps::{SAMPLES, SCRATCH, Scratch, config},
    regs, task,
};

/// `BPF_F_USER_STACK`.
const USER_STACK: u64 = 1 << 8;
/// Frames that the frame-pointer fallback asks for.
const FALLBACK_FRAMES: usize = 64;
/// The unit in which memory is present or absent; larger pages are multiples of it.
const PAGE: u64 = 4096;

/// The program's own context, for the helper that walks frame pointers.
#[derive(Clone, Copy)]
pub struct Source(pub *mut c_void);

impl Source {
    #[inline(always)]
    pub fn of(context: &impl aya_ebpf::EbpfContext) -> Self {
        Self(context.as_ptr())
    }
}

/// What a sample tells.
pub struct Event {
    /// [`WAIT_SAMPLE`] or [`HOLD_SAMPLE`](holdup_abi::record::HOLD_SAMPLE).
    pub kind: u32,
    pub slot: u32,
    pub address: u64,
    pub since_ns: u64,
    pub held_ns: u64,
    pub off_cpu: u32,
}

/// Whether a wait on this word is to be sampled: none was for a while. The next one is due later.
///
/// # Safety
/// `lock` is a live element of the lock array.
#[inline(always)]
pub unsafe fn is_due(lock: *mut Lock, now_ns: u64) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let due = now_ns >= (*lock).next_sample_ns;
        if due {
            (*lock).next_sample_ns = now_ns.wrapping_add(config!(sample_interval_ns));
        }
        due && task::control(CONTROL_LEAVE_OUT) & LEAVE_OUT_SAMPLES == 0
    }
}

/// Sends a sample of the current thread's wait, which begins or has just ended.
///
/// # Safety
/// `lock` is a live element of the lock array.
#[inline(always)]
pub unsafe fn wait(source: Source, thread: &mut Thread, lock: *mut Lock) {
    let event = Event {
        kind: WAIT_SAMPLE,
        slot: thread.slot,
        address: thread.address,
        since_ns: thread.since_ns,
        held_ns: 0,
        off_cpu: 0,
    };
    if emit(source, thread, &event) {
        thread.flags |= SAMPLED;
        // SAFETY: the caller's promise.
        unsafe { add(&raw mut (*lock).samples, 1) };
    }
}

/// Sends a sample of the current thread's stack. Returns whether there was room for it.
#[inline(never)]
pub fn emit(source: Source, thread: &Thread, event: &Event) -> bool {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        lost(Counter::Internal);
        return false;
    };
    // SAFETY: this processor's own element, of which nobody else uses more than the mark. Volatile, since the compiler
    // knows nothing of preemption.
    unsafe {
        let mark = &raw mut (*scratch).is_taken;
        if core::ptr::read_volatile(mark) != 0 {
            lost(Counter::SamplesPreempted);
            return false;
        }
        core::ptr::write_volatile(mark, 1);
        let is_sent = send(source, thread, event, &mut *scratch);
        core::ptr::write_volatile(mark, 0);
        is_sent
    }
}

#[inline(always)]
fn send(source: Source, thread: &Thread, event: &Event, scratch: &mut Scratch) -> bool {
    let head = &mut scratch.head;
    *head = WaitSample {
        kind: event.kind,
        stack_bytes: 0,
        stack_kind: STACK_MEMORY,
        slot: event.slot,
        tgid: thread.tgid,
        tid: thread.tid,
        generation: thread.generation,
        op: thread.op,
        value: thread.value,
        off_cpu: event.off_cpu,
        address: event.address,
        since_ns: event.since_ns,
        held_ns: event.held_ns,
        regs: Default::default(),
        comm: [0; 16],
    };
    // SAFETY: the buffer is 16 bytes long.
    unsafe { bpf_get_current_comm(head.comm.as_mut_ptr().cast(), 16) };
    let wanted = task::control(CONTROL_LEAVE_OUT) & LEAVE_OUT_STACKS == 0;
    let length = match (wanted, config!(has_task_regs)) {
        (false, _) => 0,
        (true, 1) => copy_stack(scratch),
        (true, _) => walk_stack(source, scratch),
    };
    if wanted && length == 0 {
        lost(Counter::StackUnreadable);
    }
    scratch.head.stack_bytes = length as u32;
    // SAFETY: the scratch element is longer than head and the largest stack together.
    let failed = unsafe {
        bpf_ringbuf_output(
            (&raw const SAMPLES).cast_mut().cast(),
            (&raw mut *scratch).cast(),
            size_of::<WaitSample>() as u64 + length,
            0,
        )
    };
    if failed != 0 {
        lost(Counter::RingFull);
    }
    failed == 0
}

/// Copies the stack up to the first page that is not there. Steps end at page boundaries, so nothing before the end of
/// a mapping is lost. Returns the bytes copied, at most [`STACK_BYTES`].
#[inline(always)]
fn copy_stack(scratch: &mut Scratch) -> u64 {
    let Some(saved) = regs::current() else {
        return 0;
    };
    scratch.head.regs = saved.unwind();
    let sp = scratch.head.regs.sp;
    let first = PAGE - (sp & (PAGE - 1));
    let stack = scratch.stack.as_mut_ptr();
    let mut length = 0;
    // SAFETY: `first` is at most one page, so the three copies stay within the three pages of `stack`; the helper
    // checks the source.
    unsafe {
        if bpf_probe_read_user(stack.cast(), first as u32, sp as *const c_void) == 0 {
            length = first;
            for page in 0..2 {
                let at = first + page * PAGE;
                let from = sp.wrapping_add(at) as *const c_void;
                if bpf_probe_read_user(stack.add(at as usize).cast(), PAGE as u32, from) != 0 {
                    break;
                }
                length = at + PAGE;
            }
        }
    }
    length.min(STACK_BYTES as u64)
}

/// Return addresses by frame pointers, for kernels without `bpf_task_pt_regs`. Returns bytes.
#[inline(always)]
fn walk_stack(source: Source, scratch: &mut Scratch) -> u64 {
    scratch.head.stack_kind = STACK_ADDRESSES;
    // SAFETY: `stack` is longer than what is asked for; `source` is this program's own context.
    let written = unsafe {
        bpf_get_stack(
            source.0,
            scratch.stack.as_mut_ptr().cast(),
            (FALLBACK_FRAMES * 8) as u32,
            USER_STACK,
        )
    };
    if written < 0 {
        0
    } else {
        (written as u64).min((FALLBACK_FRAMES * 8) as u64)
    }
}
