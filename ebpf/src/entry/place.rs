//! The locks of one thread: what it holds and what it asks for.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{bpf_ktime_get_ns, bpf_probe_read_user},
};
use core::ffi::c_void;
use holdup_abi::{
    entry::{
        ASKED, FREE, HELD, KIND_RWLOCK, MAX_HELD, MODE_READ, PIECE_BYTES, Place, Thread, call,
    },
    lock::NO_SLOT,
    record::Regs,
};

use crate::{
    count::{Counter, lost},
    maps::{ENTRY_LOCKS, ENTRY_THREADS},
    task,
    thread::NOEXIST,
};

/// No place.
pub const NONE: u32 = MAX_HELD as u32;
const PAGE: u64 = 4096;

/// A call as it begins.
pub struct Call {
    pub what: u32,
    pub address: u64,
    pub tid: u32,
    pub now_ns: u64,
    pub regs: Regs,
}

impl Call {
    #[inline(always)]
    pub fn kind(&self) -> u32 {
        kind(self.what)
    }

    #[inline(always)]
    pub fn mode(&self) -> u32 {
        self.what >> call::MODE_SHIFT & 0xf
    }
}

#[inline(always)]
pub fn kind(what: u32) -> u32 {
    what >> call::KIND_SHIFT & 0xf
}

#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// What is known of the current thread; made on first use. `None`: there is no room.
#[inline(always)]
pub fn thread(tid: u32) -> Option<*mut Thread> {
    match ENTRY_THREADS.get_ptr_mut(tid) {
        Some(thread) => Some(thread),
        None => create(tid),
    }
}

#[inline(never)]
fn create(tid: u32) -> Option<*mut Thread> {
    /// Too large for a BPF stack.
    static EMPTY: Thread = Thread::EMPTY;
    if ENTRY_THREADS.insert(&tid, &EMPTY, NOEXIST).is_err() {
        lost(Counter::EntryThreadsFull);
        return None;
    }
    let thread = ENTRY_THREADS.get_ptr_mut(tid)?;
    // SAFETY: a live map value that only the current thread's events write.
    unsafe {
        (*thread).tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
        (*thread).generation = task::generation(task::current());
    }
    Some(thread)
}

/// Place `index`, which is masked: the verifier wants to see that it exists.
#[inline(always)]
pub fn at(thread: &mut Thread, index: u32) -> &mut Place {
    &mut thread.places[index as usize & (MAX_HELD - 1)]
}

/// What there is of one lock among the places of a thread.
pub struct Look {
    /// A call for the same lock has not returned.
    pub nested: bool,
    /// Where it is held, or [`NONE`].
    pub held: u32,
    /// A free place, or [`NONE`].
    pub free: u32,
}

/// Looks for the lock of `call`. A call that was left without a return (by a `longjmp`) is cleared away: its frame is gone
/// when another call is made from further up the stack, or the same one again from the same frame. Another one from the same
/// frame is a part of it that the compiler has made a jump.
#[inline(always)]
pub fn look(thread: &mut Thread, call: &Call) -> Look {
    let mut look = Look {
        nested: false,
        held: NONE,
        free: NONE,
    };
    let asks = matches!(call.what & call::ACTION, call::ACQUIRE | call::WAIT);
    for index in 0..NONE {
        let place = at(thread, index);
        if place.state == ASKED {
            let jumped = asks && place.frame == call.regs.sp && place.call != call.what;
            if place.frame > call.regs.sp || jumped {
                if place.address == call.address || place.mutex == call.address {
                    look.nested = true;
                }
            } else {
                lost(Counter::EntryReturnsMissed);
                super::ask::leave(place);
            }
        }
        match place.state {
            FREE => look.free = index,
            HELD if place.address == call.address => look.held = index,
            _ => {}
        }
    }
    look
}

/// Takes a free place for a call.
#[inline(always)]
pub fn take(place: &mut Place, call: &Call, slot: u32) {
    place.address = call.address;
    place.mutex = 0;
    place.frame = call.regs.sp;
    place.regs = call.regs;
    place.slot = slot;
    place.state = ASKED;
    place.mode = call.mode();
    place.depth = 0;
    place.call = call.what;
    place.sleeps = task::Own::new().sleeps();
    place.taken = 0;
    place.stack_bytes = copy(call.regs.sp, &mut place.stack);
}

/// Copies a piece of the stack, up to the end of its page if the next one is not there. Returns bytes.
#[inline(always)]
fn copy(sp: u64, piece: &mut [u8; PIECE_BYTES]) -> u32 {
    let whole = PIECE_BYTES as u32;
    let to = piece.as_mut_ptr().cast::<c_void>();
    // SAFETY: the destination is that long; the helper checks the source.
    if unsafe { bpf_probe_read_user(to, whole, sp as *const c_void) } == 0 {
        return whole;
    }
    let rest = (PAGE - (sp & (PAGE - 1))) as u32 & (whole - 1);
    // SAFETY: as above.
    if rest == 0 || unsafe { bpf_probe_read_user(to, rest, sp as *const c_void) } != 0 {
        lost(Counter::EntryStackUnreadable);
        return 0;
    }
    rest
}

/// Whether the thread still holds what is in `place`: another thread may have released it.
#[inline(always)]
pub fn is_valid(place: &Place, tid: u32) -> bool {
    if place.state != HELD || place.slot == NO_SLOT {
        return false;
    }
    if place.mode & MODE_READ != 0 && kind(place.call) == KIND_RWLOCK {
        return true;
    }
    match ENTRY_LOCKS.get_ptr(place.slot) {
        // SAFETY: a live array element.
        Some(lock) => unsafe { core::ptr::read_volatile(&raw const (*lock).holder_tid) == tid },
        None => false,
    }
}
