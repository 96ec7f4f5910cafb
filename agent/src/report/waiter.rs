//! Threads parked in a futex wait now, with their stacks. They do not move, so they are unwound at leisure.

use std::{collections::HashMap, rc::Rc};

use holdup_abi::{
    census::Task,
    futex::{self, Action, CMD_MASK, FUTEX2_PRIVATE, FUTEX2_WAIT, FUTEX2_WAITV},
    lock::LockKey,
    record::Regs,
};

use super::stacks::RawStack;
use crate::{
    proc::memory::{Copied, Layered, Memory as _, Process},
    symbol::{Space, Symbols},
};

/// Waiters of one lock that are unwound; the rest are counted without a stack.
const MAX_UNWOUND_PER_LOCK: usize = 16_384;
/// Waiters that are unwound at once, over all locks.
const MAX_UNWOUND: usize = 32_768;
/// Stack read in one piece before unwinding; what lies above is read word by word.
const STACK_BYTES: usize = 16 * 1024;

/// A parked thread.
#[derive(Clone, Debug)]
pub struct Waiter {
    /// Thread id.
    pub tid: u32,
    /// Thread name.
    pub comm: String,
    /// What it waits for.
    pub key: LockKey,
    /// Operation with its flags, see [`holdup_abi::futex`].
    pub op: u32,
    /// Value it expected in the futex word.
    pub value: u32,
    /// Registers at the system call.
    pub regs: Regs,
    /// Monotonic time since which it has been waiting; `None` when not known.
    pub since_ns: Option<u64>,
    /// The wait began before we looked, so it may be older than `since_ns` says.
    pub at_least: bool,
    /// It was in the same wait at a second look, after the holders had been read: what the two say together is true.
    pub steady: bool,
    /// Its stack; empty when it was not unwound.
    pub stack: RawStack,
}

/// Address space of a thread.
#[must_use]
pub const fn space_of_task(task: &Task) -> Space {
    Space {
        pid: task.tgid,
        generation: task.generation,
    }
}

/// The futex wait that a task is in: word, operation and expected value. That of `futex_waitv` is looked up in the
/// target's memory.
#[must_use]
pub fn futex_wait(task: &Task) -> Option<(u64, u32, u32)> {
    if task.state == 0 || task.syscall != libc::SYS_futex_waitv {
        return futex_call(task);
    }
    // `struct futex_waitv { val, uaddr, flags, reserved }`.
    let [first, ..] = task.args;
    let memory = Process { pid: task.tgid };
    let address = memory.u64(first.checked_add(8)?)?;
    let flags = memory.u32(first.checked_add(16)?)?;
    let value = memory.u64(first)? as u32;
    Some((address, FUTEX2_WAITV | (flags & FUTEX2_PRIVATE), value))
}

/// The same without a look into the target's memory, which may take for ever: a wait in `futex_waitv` goes by the address
/// of its vector.
#[must_use]
pub fn futex_call(task: &Task) -> Option<(u64, u32, u32)> {
    if task.state == 0 {
        return None;
    }
    let [first, second, third, fourth, ..] = task.args;
    match task.syscall {
        libc::SYS_futex => {
            let op = second as u32;
            (futex::action(op & CMD_MASK) == Action::Wait).then_some((first, op, third as u32))
        }
        SYS_FUTEX_WAIT => Some((
            first,
            FUTEX2_WAIT | (fourth as u32 & FUTEX2_PRIVATE),
            second as u32,
        )),
        libc::SYS_futex_waitv => Some((first, FUTEX2_WAITV, 0)),
        _ => None,
    }
}

/// `futex_wait`, the same number on all architectures (Linux 6.7).
pub const SYS_FUTEX_WAIT: i64 = 455;

/// Unwinds the stacks of `waiters`, within the bounds. Returns how many were left without.
pub fn unwind(waiters: &mut [Waiter], symbols: &mut Symbols) -> u64 {
    unwind_at_most(waiters, symbols, MAX_UNWOUND_PER_LOCK)
}

/// The same with a lower bound per lock, for a first look.
pub fn unwind_at_most(waiters: &mut [Waiter], symbols: &mut Symbols, per_lock: usize) -> u64 {
    let mut unwound: HashMap<LockKey, usize> = HashMap::new();
    let mut left = 0;
    let mut total = 0;
    for waiter in waiters {
        // It woke between the two looks: there is nothing to unwind.
        if waiter.regs.sp == 0 {
            left += 1;
            continue;
        }
        let count = unwound.entry(waiter.key).or_default();
        if *count >= per_lock || total >= MAX_UNWOUND {
            left += 1;
            continue;
        }
        *count += 1;
        total += 1;
        let space = Space {
            pid: waiter.key.tgid,
            generation: waiter.key.generation,
        };
        waiter.stack = Rc::from(unwind_one(space, waiter.regs, symbols));
    }
    left
}

/// Unwinds one sleeping thread through its process's memory.
pub fn unwind_one(space: Space, regs: Regs, symbols: &mut Symbols) -> Vec<crate::model::RawFrame> {
    symbols.load(space);
    let process = Process { pid: space.pid };
    let mut stack = vec![0; STACK_BYTES];
    let length = process.read_up_to(regs.sp, &mut stack);
    stack.truncate(length);
    let memory = Layered {
        near: Copied {
            base: regs.sp,
            bytes: &stack,
        },
        far: process,
    };
    symbols.unwind(space, regs, &memory)
}
