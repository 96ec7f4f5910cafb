//! Threads parked in a futex wait now, with their stacks. They do not move, so they are unwound at leisure.

use std::rc::Rc;

use holdup_abi::{
    census::Task,
    futex::{self, Action, CMD_MASK, FUTEX2_PRIVATE, FUTEX2_WAIT, FUTEX2_WAITV},
    lock::LockKey,
    record::Regs,
};

use super::{
    budget::{Budget, Stride},
    stacks::RawStack,
};
use crate::{
    proc::memory::{Copied, Layered, Memory as _, Process},
    symbol::{Space, Symbols},
};

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

/// Unwinds the stacks of `waiters`, within the budget. Returns how many were left without.
pub fn unwind(waiters: &mut [Waiter], symbols: &mut Symbols, budget: &Budget) -> u64 {
    let mut strides = budget.strides(waiters.iter().map(|waiter| waiter.key));
    let mut left = 0;
    let mut total = 0;
    for waiter in waiters {
        let is_chosen = strides.get_mut(&waiter.key).is_some_and(Stride::choose);
        // It woke between the two looks: there is nothing to unwind.
        let is_gone = waiter.regs.sp == 0;
        if is_gone || !is_chosen || total >= budget.waiters || budget.is_over() {
            left += 1;
            continue;
        }
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
