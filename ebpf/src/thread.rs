//! The table of threads that waited or woke.

use holdup_abi::{
    lock::NO_SLOT,
    thread::{IDLE, Thread},
};

use crate::{maps::THREADS, task};

/// State of the current thread, made on first use. `None`: the table is full.
#[inline(always)]
pub fn current(tgid: u32, tid: u32) -> Option<*mut Thread> {
    if let Some(thread) = THREADS.get_ptr_mut(tid) {
        return Some(thread);
    }
    create(tgid, tid)
}

#[inline(never)]
fn create(tgid: u32, tid: u32) -> Option<*mut Thread> {
    let thread = Thread {
        tgid,
        generation: task::generation(task::current()),
        slot: NO_SLOT,
        wake_slot: NO_SLOT,
        state: IDLE,
        ..Default::default()
    };
    THREADS.insert(tid, thread, 0).ok()?;
    THREADS.get_ptr_mut(tid)
}
