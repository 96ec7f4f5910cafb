//! The table of threads that waited or woke: an array by the low bits of the thread id, and a hash for those whose place
//! in it is taken and for those that were adopted.

use holdup_abi::{
    lock::NO_SLOT,
    thread::{IDLE, Thread},
};

use crate::{
    lock,
    maps::{MORE_THREADS, THREAD_OWNERS, THREADS, config},
    task,
};

/// `BPF_NOEXIST`.
pub const NOEXIST: u64 = 1;

#[inline(always)]
pub const fn index(tid: u32, mask: u32) -> u32 {
    tid & mask
}

/// Entry of `tid` in the array, if the place is its own.
#[inline(always)]
pub fn in_array(tid: u32) -> Option<*mut Thread> {
    let thread = THREADS.get_ptr_mut(index(tid, config!(thread_mask)))?;
    // SAFETY: a live array element. Volatile, since its last owner may be giving it up on another processor.
    let owner = unsafe { core::ptr::read_volatile(&raw const (*thread).tid) };
    (owner == tid).then_some(thread)
}

/// Entry of a thread that is on record.
#[inline(always)]
pub fn known(tid: u32) -> Option<*mut Thread> {
    match in_array(tid) {
        Some(thread) => Some(thread),
        None => MORE_THREADS.get_ptr_mut(tid),
    }
}

/// Entry of the current thread, made on first use. `None`: there is no room.
#[inline(always)]
pub fn current(tgid: u32, tid: u32) -> Option<*mut Thread> {
    match known(tid) {
        Some(thread) => Some(thread),
        None => create(tgid, tid),
    }
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
    let place = index(tid, config!(thread_mask));
    if THREAD_OWNERS.insert(place, tid, NOEXIST).is_ok() {
        let element = THREADS.get_ptr_mut(place)?;
        // SAFETY: a live array element that is the current thread's alone from now on. The id comes last: whoever reads
        // it finds the rest in place.
        unsafe {
            *element = thread;
            core::ptr::write_volatile(&raw mut (*element).tid, tid);
        }
        // The task iterator may have put the thread on record meanwhile, for a wait that is over.
        remove_adopted(tid);
        return Some(element);
    }
    let thread = Thread { tid, ..thread };
    // An entry that is there by now is the iterator's; its wait is settled when the next one begins.
    let _ = MORE_THREADS.insert(tid, thread, NOEXIST);
    MORE_THREADS.get_ptr_mut(tid)
}

/// Takes back an adoption. Whoever removes the entry does it: the thread itself or the task iterator.
#[inline(always)]
pub fn remove_adopted(tid: u32) {
    let Some(adopted) = MORE_THREADS.get_ptr(tid) else {
        return;
    };
    // SAFETY: a live map value, copied at once: a removed element may be somebody else's.
    let adopted = unsafe { *adopted };
    if MORE_THREADS.remove(tid).is_ok() && adopted.state != IDLE {
        lock::take_back(&adopted);
    }
}

/// The thread is gone: takes its entry off the table and returns it.
#[inline(always)]
pub fn remove(tid: u32) -> Option<Thread> {
    if let Some(element) = in_array(tid) {
        // SAFETY: the current thread's own element, or that of a leader whose place it takes.
        let thread = unsafe { *element };
        // SAFETY: as above; free for others only after the next line.
        unsafe { core::ptr::write_volatile(&raw mut (*element).tid, 0) };
        let _ = THREAD_OWNERS.remove(index(tid, config!(thread_mask)));
        return Some(thread);
    }
    let thread = MORE_THREADS.get_ptr(tid)?;
    // SAFETY: a live map value, copied at once: a removed element may be somebody else's.
    let thread = unsafe { *thread };
    MORE_THREADS.remove(tid).is_ok().then_some(thread)
}
