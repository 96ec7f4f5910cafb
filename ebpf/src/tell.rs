//! Short messages to the agent: a sampled wait ended, many wait for a lock. With [`crate::sample`], the only doors to the
//! ring buffer.

use holdup_abi::{
    lock::Lock,
    record::{CROSSING, Crossing, WAIT_END, WaitEnd},
    thread::Thread,
};

use crate::{
    count::{Counter, lost},
    maps::SAMPLES,
};

/// `BPF_RB_FORCE_WAKEUP`.
const FORCE_WAKEUP: u64 = 2;

/// Reports the end of a sampled wait, so that time can be shared out among call paths.
#[inline(never)]
pub fn wait_end(thread: &Thread, result: i64, duration_ns: u64) {
    let end = WaitEnd {
        kind: WAIT_END,
        tid: thread.tid,
        since_ns: thread.since_ns,
        duration_ns,
        result,
    };
    if SAMPLES.output::<WaitEnd>(end, 0).is_err() {
        lost(Counter::EndRingFull);
    }
}

/// Calls the agent, once until it has seen the waiters go: two processors may both call, which does no harm.
///
/// # Safety
/// `lock` is a live element of the lock array.
#[inline(never)]
pub unsafe fn crossing(lock: *mut Lock, slot: u32, waiters: u64, at_ns: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        if (*lock).called != 0 {
            return;
        }
        (*lock).called = 1;
    }
    let crossing = Crossing {
        kind: CROSSING,
        slot,
        waiters,
        at_ns,
    };
    if SAMPLES.output::<Crossing>(crossing, FORCE_WAKEUP).is_err() {
        lost(Counter::CrossingsDropped);
        // Nobody was called, so nobody would ever answer: the next waiter tries again.
        // SAFETY: as above.
        unsafe { (*lock).called = 0 };
    }
}
