//! The locks of one thread: what it holds and what it asks for.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{bpf_ktime_get_ns, bpf_probe_read_user},
};
use core::{
    ffi::c_void,
    ptr::{read_volatile, write_volatile},
};
use holdup_abi::{
    entry::{
        ASKED, FREE, HELD, KIND_RWLOCK, Look, MAX_HELD, MODE_READ, PIECE_BYTES, Place, Thread, call,
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

/// Looks for the lock of `call`. A call that was left without a return (by a `longjmp`) is cleared away: its frame is gone
/// when another call is made from further up the stack, or from the same frame. Unless that is part of it, by a jump of the
/// compiler's to another function or back to its own beginning: then the probe at the return has taken the place of the
/// return address.
#[inline(always)]
pub fn look(thread: &mut Thread, call: &Call) -> Look {
    let found = &raw mut thread.look;
    let asks = matches!(call.what & call::ACTION, call::ACQUIRE | call::WAIT);
    put(
        found,
        Look {
            nested: 0,
            held: NONE,
            free: NONE,
            valid: 0,
        },
    );
    for index in 0..NONE {
        let place = at(thread, index);
        if place.state == ASKED {
            let same = place.frame == call.regs.sp;
            let jumped = asks && same && place.regs.pc != call.regs.pc;
            if place.frame <= call.regs.sp && !jumped {
                lost(Counter::EntryReturnsMissed);
                super::ask::leave(place);
            } else if place.address == call.address || place.mutex == call.address {
                // SAFETY: in a live map value; so below.
                unsafe { write_volatile(&raw mut (*found).nested, 1) };
            }
        }
        match place.state {
            // SAFETY: as above.
            FREE => unsafe { write_volatile(&raw mut (*found).free, index) },
            HELD if place.address == call.address => {
                // SAFETY: as above.
                unsafe { write_volatile(&raw mut (*found).held, index) };
            }
            _ => {}
        }
    }
    get(found)
}

/// Where the thread holds the lock at `address`, or [`NONE`].
#[inline(always)]
pub fn held(thread: &mut Thread, address: u64) -> u32 {
    find(thread, |place| {
        place.state == HELD && place.address == address
    })
}

/// The place that `is` it, or [`NONE`].
#[inline(always)]
pub fn find(thread: &mut Thread, is: impl Fn(&Place) -> bool) -> u32 {
    let found = &raw mut thread.look.held;
    // SAFETY: in a live map value; so below.
    unsafe { write_volatile(found, NONE) };
    for index in 0..NONE {
        if is(at(thread, index)) {
            // SAFETY: as above.
            unsafe { write_volatile(found, index) };
        }
    }
    // SAFETY: as above.
    unsafe { read_volatile(found) }
}

/// Bits of the places whose lock the thread holds, and the sum of `each` over them.
#[inline(always)]
pub fn valid(thread: &mut Thread, tid: u32, each: impl Fn(&Place) -> u64) -> (u32, u64) {
    let found = &raw mut thread.look.valid;
    let mut sum = 0u64;
    // SAFETY: in a live map value; so below.
    unsafe { write_volatile(found, 0) };
    for index in 0..NONE {
        let place = at(thread, index);
        if is_valid(place, tid) {
            sum = sum.wrapping_add(each(place));
            // SAFETY: as above.
            unsafe { write_volatile(found, read_volatile(found) | 1 << index) };
        }
    }
    // SAFETY: as above.
    (unsafe { read_volatile(found) }, sum)
}

#[inline(always)]
fn put(to: *mut Look, look: Look) {
    // SAFETY: in a live map value.
    unsafe {
        write_volatile(&raw mut (*to).nested, look.nested);
        write_volatile(&raw mut (*to).held, look.held);
        write_volatile(&raw mut (*to).free, look.free);
    }
}

#[inline(always)]
fn get(from: *mut Look) -> Look {
    // SAFETY: in a live map value.
    unsafe {
        Look {
            nested: read_volatile(&raw const (*from).nested),
            held: read_volatile(&raw const (*from).held),
            free: read_volatile(&raw const (*from).free),
            valid: 0,
        }
    }
}

/// Writes registers word by word: the compiler would call a function that copies bytes.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
pub unsafe fn set_regs(to: *mut Regs, regs: &Regs) {
    // SAFETY: the caller's promise.
    unsafe {
        write_volatile(&raw mut (*to).pc, regs.pc);
        write_volatile(&raw mut (*to).sp, regs.sp);
        write_volatile(&raw mut (*to).fp, regs.fp);
        write_volatile(&raw mut (*to).lr, regs.lr);
    }
}

/// Takes a free place for a call.
#[inline(always)]
pub fn take(place: &mut Place, call: &Call, slot: u32) {
    place.address = call.address;
    place.mutex = 0;
    place.frame = call.regs.sp;
    // SAFETY: a field of a live map value.
    unsafe { set_regs(&raw mut place.regs, &call.regs) };
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
        Some(lock) => unsafe { read_volatile(&raw const (*lock).holder_tid) == tid },
        None => false,
    }
}
