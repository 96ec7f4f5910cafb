//! The table of locks: finding a slot, and the statistics in it.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use holdup_abi::{
    lock::{BUCKETS, Lock, LockKey, NO_SLOT, RETIRED, WITHOUT_DETAIL, bucket},
    thread::Thread,
};

use crate::{
    count::{Counter, add, lost},
    maps::{FREE_SLOTS, LOCK_SLOTS, LOCKS},
    thread::NOEXIST,
};

const EAGAIN: i64 = -11;
const ETIMEDOUT: i64 = -110;
const EINTR: i64 = -4;

/// The lock in `slot` if that slot (still) belongs to `key` and may be used anew: it is not [`RETIRED`].
#[inline(always)]
pub fn in_slot(slot: u32, key: &LockKey) -> Option<*mut Lock> {
    with_mask(slot, key, u32::MAX)
}

/// The same for who was told of the slot by [`LOCK_SLOTS`] just now, or waits in it: the agent does not take a slot back
/// from under them. See `watch::reclaim` there.
#[inline(always)]
pub fn even_retired(slot: u32, key: &LockKey) -> Option<*mut Lock> {
    with_mask(slot, key, !RETIRED)
}

#[inline(always)]
fn with_mask(slot: u32, key: &LockKey, mask: u32) -> Option<*mut Lock> {
    if slot == NO_SLOT {
        return None;
    }
    let lock = LOCKS.get_ptr_mut(slot)?;
    // SAFETY: a live array element. Volatile, since the agent may be retiring it.
    let (address, tgid, generation) = unsafe {
        let owner = &raw const (*lock).key;
        let tgid = core::ptr::read_volatile(&raw const (*owner).tgid);
        ((*owner).address, tgid & mask, (*owner).generation)
    };
    (address == key.address && tgid == key.tgid && generation == key.generation).then_some(lock)
}

/// Slot of a lock that somebody has waited on.
#[inline(always)]
pub fn find(key: &LockKey) -> Option<u32> {
    // SAFETY: a live map value, copied out at once.
    LOCK_SLOTS.get_ptr(key).map(|slot| unsafe { *slot })
}

/// Slot of a lock, made on first use. [`NO_SLOT`]: the table is full.
#[inline(never)]
pub fn find_or_create(key: &LockKey) -> u32 {
    if let Some(slot) = find(key)
        && even_retired(slot, key).is_some()
    {
        return slot;
    }
    let Ok(Some(slot)) = FREE_SLOTS.pop() else {
        return NO_SLOT;
    };
    let Some(lock) = LOCKS.get_ptr_mut(slot) else {
        lost(Counter::Internal);
        return NO_SLOT;
    };
    // SAFETY: the slot came out of the queue, so nobody else has it; the agent put it there zeroed. A helper without
    // arguments.
    unsafe {
        (*lock).born_ns = bpf_ktime_get_ns();
        (*lock).key = *key;
    }
    if LOCK_SLOTS.insert(key, slot, NOEXIST).is_err() {
        // SAFETY: as above. Another processor was first, or the hash is full: give the slot back.
        unsafe {
            (*lock).key = LockKey {
                address: 0,
                tgid: 0,
                generation: 0,
            }
        };
        if FREE_SLOTS.push(slot, 0).is_err() {
            lost(Counter::Internal);
        }
        return find(key).unwrap_or(NO_SLOT);
    }
    slot
}

/// Counts a waiter in. Returns how many there are.
///
/// # Safety
/// `lock` is a live element of [`LOCKS`].
#[inline(always)]
pub unsafe fn enter(lock: *mut Lock) -> u64 {
    // SAFETY: the caller's promise.
    unsafe {
        add(&raw mut (*lock).waiters, 1);
        let mut waiters = 0;
        // Read again after each store: a store that races with a greater one is put right unless the waiters have
        // left again within those few nanoseconds.
        for _ in 0..2 {
            waiters = core::ptr::read_volatile(&raw const (*lock).waiters);
            if waiters > core::ptr::read_volatile(&raw const (*lock).peak_waiters) {
                core::ptr::write_volatile(&raw mut (*lock).peak_waiters, waiters);
            } else {
                break;
            }
        }
        waiters
    }
}

/// Counts a waiter out whose wait was put on record in error.
#[inline(always)]
pub fn take_back(thread: &Thread) {
    let key = LockKey {
        address: thread.address,
        tgid: thread.tgid,
        generation: thread.generation,
    };
    if let Some(lock) = even_retired(thread.slot, &key) {
        // SAFETY: a live element of the array, entered when the wait was put on record.
        unsafe { add(&raw mut (*lock).waiters, u64::MAX) };
    } else {
        lost(Counter::Internal);
    }
}

/// Counts thread `tid` out and accounts its wait of `duration_ns`, `ready_ns` of which it lacked a processor only, and
/// which ended at `now_ns` with `result`.
///
/// # Safety
/// `lock` is a live element of [`LOCKS`] that was [`enter`]ed by this wait.
#[inline(always)]
pub unsafe fn leave(
    lock: *mut Lock,
    tid: u32,
    result: i64,
    duration_ns: u64,
    ready_ns: u64,
    now_ns: u64,
) {
    // SAFETY: the caller's promise.
    unsafe {
        add(&raw mut (*lock).waiters, u64::MAX);
        let outcome = match result {
            0.. => {
                (*lock).last_handoff_ns = now_ns;
                (*lock).last_woken_tid = tid;
                &raw mut (*lock).woken
            }
            EAGAIN => {
                add(&raw mut (*lock).value_changed, 1);
                return;
            }
            ETIMEDOUT => &raw mut (*lock).timed_out,
            EINTR => &raw mut (*lock).interrupted,
            _ => &raw mut (*lock).error,
        };
        add(outcome, 1);
        add(&raw mut (*lock).total_ns, duration_ns);
        add(&raw mut (*lock).ready_ns, ready_ns);
        if duration_ns > (*lock).max_ns {
            (*lock).max_ns = duration_ns;
        }
        let index = bucket(duration_ns);
        if index < BUCKETS && (*lock).flags & WITHOUT_DETAIL == 0 {
            add((&raw mut (*lock).histogram).cast::<u64>().add(index), 1);
        }
    }
}
