//! Locks by address, and their statistics.

use holdup_abi::{
    entry::{DESTROYED, Lock, RECURSIVE, Thread},
    lock::{BUCKETS, LockKey, NO_SLOT, bucket},
};

use super::place::{Call, now_ns};
use crate::{
    count::{Counter, add, lost},
    maps::{ENTRY_FREE, ENTRY_LOCKS, ENTRY_SLOTS},
    thread::NOEXIST,
};

/// The first hold of a lock is told from this length on: some programs make, take once and destroy many.
const WORTH_TELLING_NS: u64 = 1_000_000;

#[inline(always)]
fn key(thread: &Thread, address: u64) -> LockKey {
    LockKey {
        address,
        tgid: thread.tgid,
        generation: thread.generation,
    }
}

#[inline(always)]
fn known(key: &LockKey) -> Option<u32> {
    // SAFETY: a live map value, copied out at once.
    ENTRY_SLOTS.get_ptr(key).map(|slot| unsafe { *slot })
}

/// Slot and statistics of a lock, made on first use. `None`: the table is full.
#[inline(always)]
pub fn find_or_create(thread: &Thread, address: u64, kind: u32) -> Option<(u32, *mut Lock)> {
    let key = key(thread, address);
    let slot = match known(&key) {
        Some(slot) => slot,
        None => create(&key, kind),
    };
    let lock = ENTRY_LOCKS.get_ptr_mut(slot);
    if lock.is_none() {
        lost(Counter::EntryLocksFull);
    }
    Some((slot, lock?))
}

#[inline(never)]
fn create(key: &LockKey, kind: u32) -> u32 {
    let Ok(Some(slot)) = ENTRY_FREE.pop() else {
        return NO_SLOT;
    };
    if let Some(lock) = ENTRY_LOCKS.get_ptr_mut(slot) {
        // SAFETY: the slot came out of the queue, so nobody else has it; the agent put it there zeroed.
        unsafe {
            (*lock).key = *key;
            (*lock).kind = kind;
            (*lock).born_ns = now_ns();
        }
    }
    if ENTRY_SLOTS.insert(key, &slot, NOEXIST).is_ok() {
        return slot;
    }
    // Another processor was first, or the hash is full: give the slot back.
    if let Some(lock) = ENTRY_LOCKS.get_ptr_mut(slot) {
        // SAFETY: as above.
        unsafe {
            (*lock).key = LockKey {
                address: 0,
                tgid: 0,
                generation: 0,
            }
        };
    }
    if ENTRY_FREE.push(&slot, 0).is_err() {
        lost(Counter::Internal);
    }
    known(key).unwrap_or(NO_SLOT)
}

/// Statistics in a slot.
#[inline(always)]
pub fn in_slot(slot: u32) -> Option<*mut Lock> {
    ENTRY_LOCKS.get_ptr_mut(slot)
}

/// The lock ends, or is made anew: whatever comes to its address is another one.
#[inline(always)]
pub fn destroy(thread: &Thread, call: &Call) {
    let key = key(thread, call.address);
    let Some(slot) = known(&key) else {
        return;
    };
    if ENTRY_SLOTS.remove(&key).is_ok()
        && let Some(lock) = in_slot(slot)
    {
        // SAFETY: a live array element.
        unsafe {
            (*lock).flags |= DESTROYED;
            (*lock).destroyed_ns = call.now_ns;
        }
    }
}

/// A contended acquisition took this long.
///
/// # Safety
/// `lock` is a live element of [`ENTRY_LOCKS`].
#[inline(always)]
pub unsafe fn waited(lock: *mut Lock, duration_ns: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        add(&raw mut (*lock).contended, 1);
        add(&raw mut (*lock).wait_total_ns, duration_ns);
        if duration_ns > (*lock).wait_max_ns {
            (*lock).wait_max_ns = duration_ns;
        }
        count((&raw mut (*lock).wait_histogram).cast(), duration_ns);
    }
}

/// A hold took this long. Returns whether it is worth telling.
///
/// # Safety
/// `lock` is a live element of [`ENTRY_LOCKS`].
#[inline(always)]
pub unsafe fn held(lock: *mut Lock, duration_ns: u64) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        add(&raw mut (*lock).hold_total_ns, duration_ns);
        if duration_ns > (*lock).hold_max_ns {
            (*lock).hold_max_ns = duration_ns;
        }
        count((&raw mut (*lock).hold_histogram).cast(), duration_ns);
        let short = duration_ns < WORTH_TELLING_NS && (*lock).releases <= 1;
        let told = !short && duration_ns >= (*lock).report_hold_ns;
        if told {
            (*lock).report_hold_ns = duration_ns.saturating_mul(2);
        }
        told
    }
}

/// # Safety
/// `histogram` has [`BUCKETS`] elements in a live map value.
#[inline(always)]
unsafe fn count(histogram: *mut u64, duration_ns: u64) {
    let index = bucket(duration_ns);
    if index < BUCKETS {
        // SAFETY: the caller's promise.
        unsafe { add(histogram.add(index), 1) };
    }
}

/// A thread that holds it takes it again.
///
/// # Safety
/// `lock` is a live element of [`ENTRY_LOCKS`].
#[inline(always)]
pub unsafe fn repeated(lock: *mut Lock) {
    // SAFETY: the caller's promise.
    unsafe {
        add(&raw mut (*lock).repeated, 1);
        if (*lock).flags & RECURSIVE == 0 {
            (*lock).flags |= RECURSIVE;
        }
    }
}

/// Whether a mistake of this sort is told for the first time with this lock.
///
/// # Safety
/// `lock` is a live element of [`ENTRY_LOCKS`].
#[inline(always)]
pub unsafe fn first(lock: *mut Lock, what: u32) -> bool {
    // SAFETY: the caller's promise. Two processors that are here at once tell it twice.
    unsafe {
        let told = (*lock).told;
        (*lock).told = told | 1 << what;
        told >> what & 1 == 0
    }
}
