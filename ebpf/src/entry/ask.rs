//! A thread asks for a lock, a unit of a semaphore or a place at a barrier, and is given it or not.

use holdup_abi::entry::{
    FREE, HELD, KIND_BARRIER, KIND_CONDVAR, KIND_RWLOCK, KIND_SEMAPHORE, Lock, MODE_READ, MODE_TRY,
    Place, Thread,
};

use super::{
    edge, lock,
    outcome::{self, GOT, TAKEN, TIMED_OUT},
    place::{self, Call, NONE, at, kind, look, now_ns},
};
use crate::{
    count::{Counter, add, lost},
    task,
};

/// Nobody holds these; threads wait on them.
#[inline(always)]
pub fn is_waited_on(kind: u32) -> bool {
    kind == KIND_CONDVAR || kind == KIND_SEMAPHORE || kind == KIND_BARRIER
}

/// The call begins.
#[inline(always)]
pub fn begin(thread: &mut Thread, call: &Call) {
    let look = look(thread, call);
    if look.nested != 0 {
        return;
    }
    if look.free == NONE {
        lost(Counter::EntryHeldFull);
        return;
    }
    let kind = call.kind();
    let Some((slot, lock)) = lock::find_or_create(thread, call.address, kind) else {
        return;
    };
    let place = at(thread, look.free);
    place::take(place, call, slot);
    if is_waited_on(kind) {
        // SAFETY: a live array element.
        unsafe { add(&raw mut (*lock).users, 1) };
    } else {
        // SAFETY: as above.
        place.taken = u32::from(unsafe { is_taken(lock, call) });
        // A thread that has the lock does not wait for it.
        if look.held == NONE && call.mode() & MODE_TRY == 0 {
            edge::note(thread, look.free, slot, call.mode());
        }
    }
    // Last: our own work is no wait.
    at(thread, look.free).since_ns = now_ns();
}

/// Whether another thread holds the lock so that this call must wait, by our own account.
///
/// # Safety
/// `lock` is a live element of the array of locks.
#[inline(always)]
unsafe fn is_taken(lock: *mut Lock, call: &Call) -> bool {
    // SAFETY: the caller's promise. Volatile, since others write there.
    unsafe {
        let holder = core::ptr::read_volatile(&raw const (*lock).holder_tid);
        let readers = core::ptr::read_volatile(&raw const (*lock).users);
        holder != 0 && holder != call.tid || readers != 0 && call.mode() & MODE_READ == 0
    }
}

/// The call in place `index` returns with `result`.
#[inline(always)]
pub fn returned(thread: &mut Thread, index: u32, tid: u32, result: u64) {
    let now_ns = now_ns();
    let place = at(thread, index);
    let (address, slot, mode, what) = (place.address, place.slot, place.mode, place.call);
    let slept = task::Own::new().sleeps() != place.sleeps;
    let contended = slept || place.taken != 0;
    let duration_ns = now_ns.saturating_sub(place.since_ns);
    let kind = kind(what);
    let Some(lock) = lock::in_slot(slot) else {
        lost(Counter::Internal);
        place.state = FREE;
        return;
    };
    let outcome = outcome::of(what, mode, result);
    // SAFETY: a live array element.
    unsafe {
        if is_waited_on(kind) {
            add(&raw mut (*lock).users, u64::MAX);
        }
        if outcome != GOT {
            place.state = FREE;
            add(
                match outcome {
                    TAKEN => &raw mut (*lock).try_failures,
                    TIMED_OUT => &raw mut (*lock).timeouts,
                    _ => &raw mut (*lock).errors,
                },
                1,
            );
            return;
        }
        add(&raw mut (*lock).acquisitions, 1);
        if contended {
            lock::waited(lock, duration_ns);
        }
        if is_waited_on(kind) {
            place.state = FREE;
            return;
        }
        if mode & MODE_READ != 0 {
            add(&raw mut (*lock).reads, 1);
        }
        place.state = FREE;
        let held = place::held(thread, address);
        if held != NONE {
            at(thread, held).depth += 1;
            lock::repeated(lock);
            return;
        }
        if mode & MODE_TRY != 0 {
            edge::note(thread, index, slot, mode);
        }
        hold(at(thread, index), lock, tid, now_ns);
    }
}

/// The thread holds the lock in `place` from now on.
///
/// # Safety
/// `lock` is a live element of the array of locks.
#[inline(always)]
pub unsafe fn hold(place: &mut Place, lock: *mut Lock, tid: u32, now_ns: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        if place.mode & MODE_READ != 0 && kind(place.call) == KIND_RWLOCK {
            add(&raw mut (*lock).users, 1);
        } else {
            (*lock).holder_since_ns = now_ns;
            core::ptr::write_volatile(&raw mut (*lock).holder_tid, tid);
        }
    }
    place.since_ns = now_ns;
    place.state = HELD;
}

/// The call in `place` will not return.
#[inline(always)]
pub fn leave(place: &mut Place) {
    place.state = FREE;
    if is_waited_on(kind(place.call))
        && let Some(lock) = lock::in_slot(place.slot)
    {
        // SAFETY: a live array element.
        unsafe { add(&raw mut (*lock).users, u64::MAX) };
    }
}
