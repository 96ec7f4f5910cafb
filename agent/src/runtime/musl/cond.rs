//! Condition variables and barriers, whose private kinds wait on a word of some waiter's own stack.

use super::STACK_WORDS;
use crate::runtime::Wait;

/// `struct waiter` of `pthread_cond_timedwait.c`: previous 0, next 8, state 16, barrier 20 (the futex).
const NODE_BARRIER: u64 = 20;
const NODE_NEXT: u64 = 8;
const COND_HEAD: u64 = 8;
const COND_TAIL: u64 = 40;
/// `_c_seq`, the futex of a condition variable that is shared between processes.
const COND_SEQUENCE: u64 = 8;
/// `_c_shared`, a pointer-sized all-ones.
const SHARED: u64 = u64::MAX;
/// Longest queue that is followed to find a waiter in it.
const MAX_QUEUE: usize = 256;

/// `struct instance` of `pthread_barrier_wait.c`: count 0, last 4, waiters 8, finished 12.
const INSTANCE_LAST: u64 = 4;
const INSTANCE_FINISHED: u64 = 12;

/// Pointers on the waiter's stack, nearest first.
fn stack_pointers<'a>(wait: &'a Wait<'_>) -> impl Iterator<Item = u64> + 'a {
    let words = if wait.sp == 0 { 0 } else { STACK_WORDS };
    (0..words)
        .map_while(|index| wait.u64_at(wait.sp, index * 8))
        .filter(|word| *word % 4 == 0 && *word > 4096)
}

/// The condition variable whose queue holds the waiter's node.
pub(in crate::runtime) fn locate_cond(wait: &Wait<'_>) -> Option<u64> {
    if !wait.is_private() {
        let base = wait.address.checked_sub(COND_SEQUENCE)?;
        return (wait.memory.u64(base)? == SHARED).then_some(base);
    }
    let node = wait.address.checked_sub(NODE_BARRIER)?;
    // Every lookup below starts from a different pointer, so one budget bounds all of them.
    let mut budget = MAX_QUEUE;
    stack_pointers(wait).find(|cond| {
        if wait.u64_at(*cond, COND_TAIL) == Some(node) {
            return true;
        }
        // The head is the newest waiter; an unrelated pointer seldom leads anywhere.
        let mut next = match (wait.u64_at(*cond, COND_HEAD), wait.u64_at(*cond, COND_TAIL)) {
            (Some(head), Some(tail)) if head != 0 && tail != 0 => head,
            _ => return false,
        };
        while next != 0 && budget > 0 {
            if next == node {
                return true;
            }
            budget -= 1;
            next = wait.u64_at(next, NODE_NEXT).unwrap_or(0);
        }
        false
    })
}

/// The instance of a barrier that a thread known to wait for one waits for: the first waiter keeps it on its stack, and
/// the barrier itself cannot be told from there. All waiters of one round have the same.
pub(in crate::runtime) fn locate_barrier(wait: &Wait<'_>) -> Option<u64> {
    // The first waiter waits for `finished`, which it has set to 1; the others for `last`, which is 0.
    let offset = match wait.value {
        0 => INSTANCE_LAST,
        1 => INSTANCE_FINISHED,
        _ => return None,
    };
    wait.address
        .checked_sub(offset)
        .filter(|_| wait.is_private())
}
