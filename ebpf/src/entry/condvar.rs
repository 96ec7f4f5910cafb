//! Condition variables: a wait gives its mutex up and takes it again.

use holdup_abi::entry::{
    EVENT_UNHEARD, EVENT_WAIT_HOLDING, FREE, KIND_CONDVAR, KIND_MUTEX, MODE_AFTER_WAIT, Thread,
    call::KIND_SHIFT,
};

use super::{
    ask, edge,
    event::{self, Told},
    lock,
    outcome::{self, FAILED, GOT, TIMED_OUT},
    place::{self, Call, NONE, at, is_valid, look, now_ns},
    release,
};
use crate::{
    count::{Counter, add, lost},
    task,
};

/// A wait begins, whose mutex is `mutex`.
#[inline(always)]
pub fn begin(thread: &mut Thread, call: &Call, mutex: u64) {
    let look = look(thread, call);
    if look.nested != 0 {
        return;
    }
    let Some((slot, condvar)) = lock::find_or_create(thread, call.address, KIND_CONDVAR) else {
        return;
    };
    let held = place::held(thread, mutex);
    let mut depth = 0;
    if held != NONE {
        depth = at(thread, held).depth;
        release::end(thread, held, call);
    }
    let free = if held == NONE { look.free } else { held };
    if free == NONE {
        lost(Counter::EntryHeldFull);
        return;
    }
    let place = at(thread, free);
    place::take(place, call, slot);
    place.mutex = mutex;
    place.depth = depth;
    place.taken = u32::from(held != NONE);
    // SAFETY: a live array element.
    unsafe { add(&raw mut (*condvar).users, 1) };
    if let Some((mutex_slot, _)) = lock::find_or_create(thread, mutex, KIND_MUTEX) {
        edge::note(thread, free, mutex_slot, MODE_AFTER_WAIT);
    }
    holding(thread, call, slot);
    at(thread, free).since_ns = now_ns();
}

/// Tells of locks that are held on, each once.
#[inline(always)]
fn holding(thread: &mut Thread, call: &Call, condvar: u32) {
    for index in 0..NONE {
        let place = at(thread, index);
        if is_valid(place, call.tid)
            && let Some(lock) = lock::in_slot(place.slot)
            // SAFETY: a live array element.
            && unsafe { lock::first(lock, EVENT_WAIT_HOLDING) }
        {
            event::send(
                thread,
                &Told {
                    held: index,
                    other: condvar,
                    ..Told::of(EVENT_WAIT_HOLDING, call)
                },
            );
        }
    }
}

/// The wait in place `index` returns: the thread has its mutex again, whatever the result says.
#[inline(always)]
pub fn returned(thread: &mut Thread, index: u32, tid: u32, result: u64) {
    let now_ns = now_ns();
    let place = at(thread, index);
    let (mutex, had_it) = (place.mutex, place.taken != 0);
    let outcome = outcome::of(place.call, place.mode, result);
    place.state = FREE;
    if let Some(condvar) = lock::in_slot(place.slot) {
        let slept = task::Own::new().sleeps() != place.sleeps;
        // SAFETY: a live array element.
        unsafe {
            add(&raw mut (*condvar).users, u64::MAX);
            match outcome {
                GOT => {
                    add(&raw mut (*condvar).acquisitions, 1);
                    if slept {
                        lock::waited(condvar, now_ns.saturating_sub(place.since_ns));
                    }
                }
                TIMED_OUT => add(&raw mut (*condvar).timeouts, 1),
                _ => add(&raw mut (*condvar).errors, 1),
            }
        }
    }
    if outcome == FAILED && !had_it {
        return;
    }
    if let Some((slot, lock)) = lock::find_or_create(thread, mutex, KIND_MUTEX) {
        let place = at(thread, index);
        place.address = mutex;
        place.mutex = 0;
        place.slot = slot;
        place.mode = MODE_AFTER_WAIT;
        place.call = KIND_MUTEX << KIND_SHIFT;
        // SAFETY: a live array element.
        unsafe {
            add(&raw mut (*lock).reacquired, 1);
            ask::hold(place, lock, tid, now_ns);
        }
    }
}

/// A signal or a broadcast.
#[inline(always)]
pub fn signal(thread: &mut Thread, call: &Call) {
    let Some((slot, condvar)) = lock::find_or_create(thread, call.address, KIND_CONDVAR) else {
        return;
    };
    // SAFETY: a live array element.
    let tell = unsafe {
        add(&raw mut (*condvar).releases, 1);
        if core::ptr::read_volatile(&raw const (*condvar).users) != 0 {
            (*condvar).heard_ns = call.now_ns;
            false
        } else {
            add(&raw mut (*condvar).unheard, 1);
            (*condvar).unheard_ns = call.now_ns;
            (*condvar).unheard_tid = call.tid;
            lock::first(condvar, EVENT_UNHEARD)
        }
    };
    if tell {
        event::send(
            thread,
            &Told {
                other: slot,
                ..Told::of(EVENT_UNHEARD, call)
            },
        );
    }
}
