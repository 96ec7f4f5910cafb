//! Task iterator: every thread with its registers and system call, nobody stopped; and the adoption of threads that
//! were parked before the programs were attached.

use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_probe_read_kernel, bpf_seq_write};
use core::ffi::c_void;
use holdup_abi::{
    census::Task,
    config::{CLOCK_UNKNOWN, CONTROL_ADOPT, CONTROL_CLOCK, CONTROL_EVERYBODY},
    futex::{self, Action, CMD_MASK, FUTEX2_PRIVATE, FUTEX2_WAIT},
    lock::{LockKey, NO_SLOT},
    thread::{PREEXISTING, Thread, WAITING},
};

use crate::{
    count::{Counter, lost},
    filter, lock,
    maps::{MORE_THREADS, config},
    regs,
    task::{self, read_u32, read_u64},
    thread::{self, NOEXIST},
};

/// System call numbers of `futex` and `futex_wait`.
#[cfg(bpf_target_arch = "x86_64")]
const SYS: (i64, i64) = (202, 455);
#[cfg(bpf_target_arch = "aarch64")]
const SYS: (i64, i64) = (98, 455);

/// `struct bpf_iter__task`, as the kernel passes it to `iter/task` programs.
#[repr(C)]
pub struct IterContext {
    /// `struct bpf_iter_meta *`, whose first field is the `struct seq_file *`.
    meta: *const *mut c_void,
    task: *const u8,
}

/// Writes one [`Task`] per watched thread. When the kernel's buffer is full it calls again for the same thread.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn census(context: *const IterContext) -> i32 {
    // SAFETY: the kernel passes a valid context; the task is null at the end.
    let (meta, task) = unsafe { ((*context).meta, (*context).task) };
    if task.is_null() || read_u64(task, config!(task.mm)).unwrap_or(0) == 0 {
        return 0;
    }
    let Some(tgid) = read_u32(task, config!(task.tgid)) else {
        return 0;
    };
    // The agent's own threads are listed, for setting clocks, but never adopted.
    let watched = filter::watches(tgid);
    if !watched && tgid != config!(self_tgid) && task::control(CONTROL_EVERYBODY) != 1 {
        return 0;
    }
    let (Some(tid), Some(saved)) = (read_u32(task, config!(task.pid)), regs::of_task(task)) else {
        return 0;
    };
    let mut record = Task {
        tid,
        tgid,
        generation: task::generation(task),
        state: read_u32(task, config!(task.state)).unwrap_or(0),
        syscall: saved.syscall(),
        args: [
            saved.arg(0),
            saved.arg(1),
            saved.arg(2),
            saved.arg(3),
            saved.arg(4),
            saved.arg(5),
        ],
        regs: saved.unwind(),
        last_ran_ns: last_ran_ns(task),
        since_ns: 0,
        wait_state: 0,
        wait_flags: 0,
        comm: [0; 16],
    };
    // SAFETY: the destination is 16 bytes long; the helper checks the source.
    unsafe {
        bpf_probe_read_kernel(
            record.comm.as_mut_ptr().cast(),
            16,
            task.wrapping_add(config!(task.comm) as usize) as *const c_void,
        )
    };
    if watched && task::control(CONTROL_ADOPT) == 1 {
        adopt(task, &record);
    }
    if let Some(thread) = thread::known(tid) {
        // SAFETY: a live map value, only read.
        unsafe {
            record.since_ns = (*thread).since_ns;
            record.wait_state = (*thread).state;
            record.wait_flags = (*thread).flags;
        }
    }
    // SAFETY: `meta` is valid during the call; the record is as long as said. A full buffer is the kernel's to handle.
    unsafe {
        bpf_seq_write(
            (*meta).cast(),
            (&raw const record).cast(),
            size_of::<Task>() as u32,
        )
    };
    0
}

/// When the thread last stopped running: when it last got a processor, plus how long it then ran (`sched_info_arrive`
/// in kernel/sched/stats.h, `set_next_entity` in kernel/sched/fair.c). Scheduler clock, 0 = not known.
#[inline(always)]
fn last_ran_ns(task: *const u8) -> u64 {
    let (Some(arrival), Some(total), Some(before)) = (
        read_u64(task, config!(task.last_arrival)),
        read_u64(task, config!(task.run_total)),
        read_u64(task, config!(task.run_before)),
    ) else {
        return 0;
    };
    arrival.saturating_add(total.saturating_sub(before))
}

/// When the sleep began on `CLOCK_MONOTONIC`, as well as it is known: never too early, and at the latest now.
#[inline(always)]
fn asleep_since_ns(record: &Task) -> u64 {
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let offset = task::control(CONTROL_CLOCK);
    if record.last_ran_ns == 0 || offset == CLOCK_UNKNOWN {
        return now_ns;
    }
    now_ns.min(record.last_ran_ns.wrapping_add(offset))
}

/// Puts a thread that is asleep in a futex wait on record, in the hash.
///
/// The thread may wake at any moment. Whoever removes the entry from the hash settles it: the thread's own exit from
/// the system call, its next futex call, or the second look below. If the thread still sleeps and has no entry of its own
/// making at the second look, its exit is yet to come.
#[inline(always)]
fn adopt(task: *const u8, record: &Task) {
    let Some(wait) = parked(record) else { return };
    if thread::in_array(record.tid).is_some() {
        return;
    }
    let key = LockKey {
        address: wait.address,
        tgid: record.tgid,
        generation: record.generation,
    };
    let slot = lock::find_or_create(&key);
    let Some(lock) = lock::in_slot(slot, &key) else {
        lost(Counter::AdoptFull);
        return;
    };
    let thread = Thread {
        address: wait.address,
        since_ns: asleep_since_ns(record),
        wake_address: 0,
        tid: record.tid,
        tgid: record.tgid,
        generation: record.generation,
        slot,
        wake_slot: NO_SLOT,
        state: WAITING,
        flags: PREEXISTING,
        op: wait.op,
        value: wait.value,
        holding: 0,
        run_delay_ns: read_u64(task, config!(task.run_delay)).unwrap_or(u64::MAX),
        held: Default::default(),
    };
    // SAFETY: `lock` is a live element of the array.
    unsafe {
        lock::enter(lock);
        (*lock).op = wait.op;
        (*lock).value = wait.value;
    }
    if let Err(error) = MORE_THREADS.insert(record.tid, thread, NOEXIST) {
        lock::take_back(&thread);
        const EEXIST: i32 = -17;
        if error != EEXIST {
            lost(Counter::AdoptFull);
        }
        return;
    }
    let woke = read_u32(task, config!(task.state)).unwrap_or(0) == 0
        || thread::in_array(record.tid).is_some();
    if woke && is_ours(record.tid, thread.since_ns) {
        thread::remove_adopted(record.tid);
    }
}

/// Whether the table still has the entry of this adoption, not one that the thread has made since.
#[inline(always)]
fn is_ours(tid: u32, since_ns: u64) -> bool {
    let Some(thread) = MORE_THREADS.get_ptr(tid) else {
        return false;
    };
    // SAFETY: a live map value, only read.
    let (flags, since) = unsafe { ((*thread).flags, (*thread).since_ns) };
    flags & PREEXISTING != 0 && since == since_ns
}

struct Parked {
    address: u64,
    op: u32,
    value: u32,
}

/// The futex wait that a sleeping thread is in.
#[inline(always)]
fn parked(record: &Task) -> Option<Parked> {
    if record.state == 0 {
        return None;
    }
    if record.syscall == SYS.0 {
        let op = record.args[1] as u32;
        return (futex::action(op & CMD_MASK) == Action::Wait).then_some(Parked {
            address: record.args[0],
            op,
            value: record.args[2] as u32,
        });
    }
    (record.syscall == SYS.1).then_some(Parked {
        address: record.args[0],
        op: FUTEX2_WAIT | (record.args[3] as u32 & FUTEX2_PRIVATE),
        value: record.args[1] as u32,
    })
}
