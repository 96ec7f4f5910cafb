//! A thread gives a lock up.

use holdup_abi::entry::{EVENT_LONG_HOLD, FREE, KIND_RWLOCK, MODE_READ, Thread};

use super::{
    event::{self, Told},
    lock,
    place::{Call, NONE, at, kind, look},
};
use crate::count::{Counter, add, lost};

/// An unlock begins.
#[inline(always)]
pub fn begin(thread: &mut Thread, call: &Call) {
    let look = look(thread, call);
    if look.nested != 0 {
        return;
    }
    if look.held == NONE {
        unmatched(thread, call);
        return;
    }
    let place = at(thread, look.held);
    if place.depth > 0 {
        place.depth -= 1;
        if let Some(lock) = lock::in_slot(place.slot) {
            // SAFETY: a live array element.
            unsafe { add(&raw mut (*lock).releases, 1) };
        }
        return;
    }
    end(thread, look.held, call);
}

/// The hold in place `index` ends now, by a release or a wait on a condition variable.
#[inline(always)]
pub fn end(thread: &mut Thread, index: u32, call: &Call) {
    let place = at(thread, index);
    let held_ns = call.now_ns.saturating_sub(place.since_ns);
    let Some(lock) = lock::in_slot(place.slot) else {
        lost(Counter::Internal);
        place.state = FREE;
        return;
    };
    // SAFETY: a live array element.
    let told = unsafe {
        add(&raw mut (*lock).releases, 1);
        if place.mode & MODE_READ != 0 && kind(place.call) == KIND_RWLOCK {
            add(&raw mut (*lock).users, u64::MAX);
        } else if (*lock).holder_tid == call.tid {
            core::ptr::write_volatile(&raw mut (*lock).holder_tid, 0);
        }
        lock::held(lock, held_ns)
    };
    if told {
        event::send(
            thread,
            &Told {
                held: index,
                held_ns,
                ..Told::of(EVENT_LONG_HOLD, call)
            },
        );
    }
    at(thread, index).state = FREE;
}

/// The thread did not take it, as far as was seen. If another one did, it has it no longer.
#[inline(always)]
fn unmatched(thread: &mut Thread, call: &Call) {
    if let Some((_, lock)) = lock::find_or_create(thread, call.address, call.kind()) {
        // SAFETY: a live array element.
        unsafe {
            add(&raw mut (*lock).releases, 1);
            add(&raw mut (*lock).unmatched, 1);
            if (*lock).users == 0 {
                core::ptr::write_volatile(&raw mut (*lock).holder_tid, 0);
            }
        }
    }
}

/// A unit goes back to a semaphore.
#[inline(always)]
pub fn post(thread: &mut Thread, call: &Call) {
    if let Some((_, lock)) = lock::find_or_create(thread, call.address, call.kind()) {
        // SAFETY: a live array element.
        unsafe { add(&raw mut (*lock).releases, 1) };
    }
}
