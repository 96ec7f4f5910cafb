//! What is worth a stack, into the ring buffer.

use aya_ebpf::helpers::generated::{
    bpf_get_current_comm, bpf_probe_read_kernel, bpf_probe_read_user, bpf_ringbuf_reserve,
    bpf_ringbuf_submit,
};
use core::ffi::c_void;
use holdup_abi::{
    entry::{EVENT, EdgeKey, Event, Member, PIECE_BYTES, STACK_BYTES, Thread},
    lock::NO_SLOT,
    record::Regs,
};

use super::place::{Call, NONE, at, is_valid, set_regs};
use crate::{
    count::{Counter, lost},
    maps::SAMPLES,
};

const PAGE: u64 = 4096;
/// No registers.
pub static NOWHERE: Regs = Regs {
    pc: 0,
    sp: 0,
    fp: 0,
    lr: 0,
};

/// What is told. By reference where it can be: all programs' stacks together are 512 bytes deep.
pub struct Told<'a> {
    /// `EVENT_*`.
    pub what: u32,
    /// Place of the lock that is held, or [`NONE`].
    pub held: u32,
    /// Slot of the other lock.
    pub other: u32,
    pub tid: u32,
    pub now_ns: u64,
    pub held_ns: u64,
    /// Where; a stack pointer of 0: nowhere.
    pub regs: &'a Regs,
    pub edge: &'a EdgeKey,
}

/// No edge.
pub static NO_EDGE: EdgeKey = EdgeKey {
    held: 0,
    asked: 0,
    held_mode: 0,
    asked_mode: 0,
    set: 0,
};

impl<'a> Told<'a> {
    /// Something that `call` does.
    #[inline(always)]
    pub fn of(what: u32, call: &'a Call) -> Self {
        Self {
            what,
            held: NONE,
            other: NO_SLOT,
            tid: call.tid,
            now_ns: call.now_ns,
            held_ns: 0,
            regs: &call.regs,
            edge: &NO_EDGE,
        }
    }
}

/// Sends it. Straight into the ring: another program may run on this processor before we are done.
#[inline(never)]
pub fn send(thread: &mut Thread, told: &Told<'_>) {
    // SAFETY: the map is a ring buffer; the result is checked.
    let event = unsafe {
        bpf_ringbuf_reserve(
            (&raw const SAMPLES).cast_mut().cast(),
            size_of::<Event>() as u64,
            0,
        )
    }
    .cast::<Event>();
    if event.is_null() {
        lost(Counter::EntryRingFull);
        return;
    }
    // SAFETY: reserved for one `Event`, by us alone until it is submitted.
    unsafe {
        fill(event, thread, told);
        bpf_ringbuf_submit(event.cast(), 0);
    }
}

/// # Safety
/// `event` is valid for writes.
#[inline(always)]
unsafe fn fill(event: *mut Event, thread: &mut Thread, told: &Told<'_>) {
    // SAFETY: the caller's promise; lengths are those of the destinations, and the helpers check the sources.
    unsafe {
        (*event).kind = EVENT;
        (*event).what = told.what;
        (*event).tgid = thread.tgid;
        (*event).tid = told.tid;
        (*event).generation = thread.generation;
        (*event).other = told.other;
        (*event).at_ns = told.now_ns;
        (*event).held_ns = told.held_ns;
        let edge = &raw mut (*event).edge;
        (*edge).held = told.edge.held;
        (*edge).asked = told.edge.asked;
        (*edge).held_mode = told.edge.held_mode;
        (*edge).asked_mode = told.edge.asked_mode;
        (*edge).set = told.edge.set;
        set_regs(&raw mut (*event).regs, told.regs);
        bpf_get_current_comm((&raw mut (*event).comm).cast(), 16);
        (*event).held = NO_SLOT;
        (*event).held_bytes = 0;
        set_regs(&raw mut (*event).held_regs, &NOWHERE);
        if told.held != NONE {
            let place = at(thread, told.held);
            (*event).held = place.slot;
            set_regs(&raw mut (*event).held_regs, &place.regs);
            (*event).held_bytes = place.stack_bytes;
            bpf_probe_read_kernel(
                (&raw mut (*event).held_stack).cast(),
                PIECE_BYTES as u32,
                place.stack.as_ptr().cast(),
            );
        }
        let mut members = 0;
        for index in 0..NONE {
            let place = at(thread, index);
            let mut member = Member {
                slot: NO_SLOT,
                mode: 0,
            };
            // The one that is being released is not in the lock's own books any more.
            if index == told.held || is_valid(place, told.tid) {
                member = Member {
                    slot: place.slot,
                    mode: place.mode,
                };
                members += 1;
            }
            (*event).set[index as usize] = member;
        }
        (*event).members = members;
        (*event).stack_bytes = stack(told.regs.sp, &raw mut (*event).stack);
    }
}

/// Copies the stack up to the first page that is not there. Returns bytes.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
unsafe fn stack(sp: u64, to: *mut [u8; STACK_BYTES]) -> u32 {
    if sp == 0 {
        return 0;
    }
    let from = sp as *const c_void;
    // SAFETY: the destination is that long; the helper checks the source.
    if unsafe { bpf_probe_read_user(to.cast(), STACK_BYTES as u32, from) } == 0 {
        return STACK_BYTES as u32;
    }
    // A page at most, so the rest of the first one is all that there can be.
    let rest = (PAGE - (sp & (PAGE - 1))) as u32 & (STACK_BYTES as u32 - 1);
    // SAFETY: as above.
    if rest == 0 || unsafe { bpf_probe_read_user(to.cast(), rest, from) } != 0 {
        lost(Counter::EntryStackUnreadable);
        return 0;
    }
    rest
}
