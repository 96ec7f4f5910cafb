//! Which lock a wait is for, as probes on contended entry points told just before: the kind and the lock's address become
//! exact. A note holds for waits within the function that was probed and on a word that fits, and for no other ones.
//!
//! Here is what the probe does; [`fit`] tells whether a wait is the one, [`own_word`] accounts it.

mod fit;
mod own_word;

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, generated::bpf_probe_read_user},
    macros::uprobe,
    programs::ProbeContext,
};
use core::ffi::c_void;
use holdup_abi::{
    slow::{Fit, Note, Place},
    uprobe::Cookie,
};

pub use self::{
    fit::address,
    own_word::{awake, begin, gone, on_own_word, woken},
};

use crate::{
    count::{Counter, lost},
    filter,
    hit::hit,
    maps::{NOTES, config},
    probed, thread,
};

/// A contended entry point is called, or what it waited for has come.
#[uprobe]
pub fn slow_path(context: ProbeContext) -> u32 {
    let cookie = hit(&context);
    let id = bpf_get_current_pid_tgid();
    let (tgid, tid) = ((id >> 32) as u32, id as u32);
    if !filter::watches_current(tgid) {
        return 0;
    }
    let place = Place::unpack(cookie.own);
    if thread::current(tgid, tid).is_none() || thread::in_array(tid).is_none() {
        lost(Counter::NotesLost);
        return 0;
    }
    let Some(note) = NOTES.get_ptr_mut(thread::index(tid, config!(thread_mask))) else {
        lost(Counter::Internal);
        return 0;
    };
    // SAFETY: a live array element, and the current thread's own: the place in the thread table is.
    let note = unsafe { &mut *note };
    let (argument, stack) = (
        probed::word(&context, place.source),
        probed::stack_pointer(&context).wrapping_add(u64::from(cookie.pushed_words) * 8),
    );
    let is_own = note.tid == tid;
    match place.fit {
        Fit::Over => note.tid = if is_own { 0 } else { note.tid },
        Fit::Tells => {
            if is_own && is_within(note, stack) {
                note.own_word = argument.wrapping_add(u64::from(place.low));
            }
        }
        Fit::Variable
            if is_own
                && Place::unpack(note.place).fit == Fit::Condition
                && is_within(note, stack) =>
        {
            note.own_word = argument;
        }
        // What is called on the way to the same lock knows less of it: jemalloc's mutex is a pthread mutex inside.
        _ if is_own && covers(note, argument) && is_within(note, stack) => {}
        _ => write(note, tid, &cookie, &place, argument, stack),
    }
    0
}

#[inline(always)]
fn write(note: &mut Note, tid: u32, cookie: &Cookie, place: &Place, object: u64, stack: u64) {
    // One that a signal broke off may still sleep.
    let listed_word = if note.tid == tid { note.listed_word } else { 0 };
    *note = Note {
        object,
        stack,
        return_address: 0,
        own_word: 0,
        listed_word,
        tid,
        row: u32::from(cookie.function) + 1,
        place: cookie.own,
        fits: 0,
        inside: 0,
        padding: 0,
    };
    if probed::RETURN_ADDRESS_ON_STACK && !place.in_midst {
        note.return_address = read_word(stack).unwrap_or(0);
    }
}

/// Whether this is the address of the lock that the note is of, or of a part of it.
#[inline(always)]
fn covers(note: &Note, address: u64) -> bool {
    let place = Place::unpack(note.place);
    let is_whole = matches!(place.fit, Fit::Inside | Fit::Variable);
    address == note.object || is_whole && has_inside(note, &place, address)
}

/// Whether this is one of the words that waiters for the lock sleep on.
#[inline(always)]
fn has_inside(note: &Note, place: &Place, word: u64) -> bool {
    let from = note.object.wrapping_add(u64::from(place.low));
    word.wrapping_sub(from) <= u64::from(place.span)
}

/// Whether the function that the note is of goes on, at a moment when the stack ends at `stack`: it may have got the lock
/// without waiting and have returned long ago.
#[inline(always)]
fn is_within(note: &Note, stack: u64) -> bool {
    if note.return_address == 0 {
        return stack < note.stack;
    }
    stack <= note.stack
        && read_word(note.stack).is_some_and(|now| now == note.return_address || is_trampoline(now))
}

/// Whether the kernel has put this return address there since, because somebody wants to know when the function returns:
/// anybody, for that matter, in any process (`prepare_uretprobe` in kernel/events/uprobes.c). It is that of a page of the
/// kernel's own, which cannot be read before the process has run it.
#[inline(always)]
fn is_trampoline(return_address: u64) -> bool {
    /// `int3`, to which no function returns.
    const TRAP: u64 = 0xcc;
    /// `push %rax; push %rcx; push %r11; mov $335, %rax` (Linux 6.11, arch/x86/kernel/uprobes.c).
    const CALL: u64 = 0x4fc0_c748_5341_5150;
    const PAGE: u64 = 1 << 12;
    const LOWEST: u64 = 1 << 16;
    const HIGHEST: u64 = 1 << 47;
    return_address & (PAGE - 1) == 0
        && (LOWEST..HIGHEST).contains(&return_address)
        && read_word(return_address).is_none_or(|code| code & 0xff == TRAP || code == CALL)
}

#[inline(always)]
fn read_word(address: u64) -> Option<u64> {
    let mut word = 0u64;
    // SAFETY: the destination is 8 bytes long; the helper checks the source.
    let failed =
        unsafe { bpf_probe_read_user((&raw mut word).cast(), 8, address as *const c_void) };
    (failed == 0).then_some(word)
}
