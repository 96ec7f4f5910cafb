//! Wakes and requeues: who let go of a lock.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use holdup_abi::lock::{LockKey, NO_SLOT};

use crate::{
    blame,
    count::{Counter, add, lost},
    filter, hold, lock,
    sample::Source,
    slow, thread,
};

/// The current thread wakes, unlocks or requeues waiters of `address`. Words that nobody waited on cost two look-ups
/// and leave no trace.
#[inline(always)]
pub fn wake(source: Source, address: u64, requeue: bool) {
    let id = bpf_get_current_pid_tgid();
    let (tgid, tid) = ((id >> 32) as u32, id as u32);
    if !filter::watches_current(tgid) {
        return;
    }
    let Some(thread) = thread::current(tgid, tid) else {
        lost(Counter::WakesLost);
        return;
    };
    // SAFETY: a live map value that only this thread's own events write.
    let thread = unsafe { &mut *thread };
    let key = slow::woken(LockKey {
        address,
        tgid,
        generation: thread.generation,
    });
    let address = key.address;
    let cached = if thread.wake_address == address {
        thread.wake_slot
    } else {
        NO_SLOT
    };
    let lock = match lock::in_slot(cached, &key) {
        Some(lock) => lock,
        None => {
            let Some(slot) = lock::find(&key) else {
                hold::end(thread, NO_SLOT, &key, 0);
                return;
            };
            let Some(lock) = lock::in_slot(slot, &key) else {
                return;
            };
            thread.wake_address = address;
            thread.wake_slot = slot;
            lock
        }
    };
    // SAFETY: `lock` is a live element of the array.
    let born_ns = unsafe { (*lock).born_ns };
    let slept = hold::end(thread, thread.wake_slot, &key, born_ns);
    // SAFETY: `lock` is a live element of the array.
    unsafe {
        // It passes on what it was given, also when nobody waits for it.
        if (*lock).last_woken_tid == tid {
            (*lock).last_woken_tid = 0;
        }
        if (*lock).waiters == 0 {
            return;
        }
        add(&raw mut (*lock).wakes, 1);
        if requeue {
            add(&raw mut (*lock).requeues, 1);
        }
        blame::release(source, thread, thread.wake_slot, lock, slept);
        (*lock).last_waker_tid = tid;
    }
}
