//! Pairs of locks: one is asked for while the other is held.

use holdup_abi::entry::{EVENT_EDGE, Edge, EdgeKey, THREADS, Thread, in_set};

use super::{
    event::{self, Told},
    lock,
    place::{NONE, at, now_ns, valid},
};
use crate::{
    count::{Counter, add, lost},
    maps::ENTRY_EDGES,
    thread::NOEXIST,
};

/// Place `index` asks for the lock in `slot`, in `mode`: notes it with every lock that the thread holds.
#[inline(never)]
pub fn note(thread: &mut Thread, index: u32, slot: u32, mode: u32) {
    let tid = aya_ebpf::helpers::bpf_get_current_pid_tgid() as u32;
    let (valid, set) = valid(thread, tid, |place| in_set(place.slot, place.mode));
    if valid == 0 {
        return;
    }
    for other in 0..NONE {
        // From the map again: see `Look`.
        // SAFETY: a field of a live map value.
        let valid = unsafe { core::ptr::read_volatile(&raw const thread.look.valid) };
        if valid >> other & 1 != 0 {
            let place = at(thread, other);
            let key = EdgeKey {
                held: place.slot,
                asked: slot,
                held_mode: place.mode,
                asked_mode: mode,
                set,
            };
            count(thread, &key, other, index, tid);
        }
    }
}

#[inline(never)]
fn count(thread: &mut Thread, key: &EdgeKey, held: u32, asked: u32, tid: u32) {
    if let Some(edge) = ENTRY_EDGES.get_ptr_mut(key) {
        // SAFETY: a live map value; entries are never removed.
        unsafe { again(edge, tid) };
        return;
    }
    let edge = Edge {
        count: 1,
        first_ns: now_ns(),
        tid,
        differs: 0,
        threads: [0; THREADS],
    };
    if ENTRY_EDGES.insert(key, &edge, NOEXIST).is_err() {
        match ENTRY_EDGES.get_ptr_mut(key) {
            // Another processor was first.
            // SAFETY: as above.
            Some(edge) => unsafe { again(edge, tid) },
            None => lost(Counter::EntryEdgesFull),
        }
        return;
    }
    // Both are more than numbers from now on.
    for slot in [key.held, key.asked] {
        if let Some(lock) = lock::in_slot(slot) {
            // SAFETY: a live array element.
            let _ = unsafe { lock::first(lock, EVENT_EDGE) };
        }
    }
    // SAFETY: a field of a live map value, which `send` does not write.
    let regs = unsafe { &*(&raw const at(thread, asked).regs) };
    event::send(
        thread,
        &Told {
            what: EVENT_EDGE,
            held,
            other: key.asked,
            tid,
            now_ns: edge.first_ns,
            held_ns: 0,
            regs,
            edge: key,
        },
    );
}

/// Counts an edge that is known, and notes its thread: one thread alone cannot wait for itself. Without a branch, since
/// this is reached on many ways and each is verified by itself.
///
/// # Safety
/// `edge` is a live map value.
#[inline(always)]
unsafe fn again(edge: *mut Edge, tid: u32) {
    // SAFETY: the caller's promise; other processors store whole words, and who loses a race stores again next time.
    unsafe {
        add(&raw mut (*edge).count, 1);
        (*edge).differs |= (*edge).tid ^ tid;
        let threads = (&raw mut (*edge).threads).cast::<u32>();
        *threads.add(tid as usize % THREADS) = tid;
    }
}
