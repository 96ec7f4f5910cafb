//! Which lock a wait is for, as probes on contended entry points told just before: the kind and the lock's address become
//! exact. A note holds for waits within the function that was probed and on a word that fits, and for no other ones.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, generated::bpf_probe_read_user},
    macros::uprobe,
    programs::ProbeContext,
};
use core::ffi::c_void;
use holdup_abi::{
    futex::{CMD_MASK, WAIT_BITSET},
    lock::{Lock, LockKey},
    slow::{Fit, Note, OWN_WORD, Place},
    thread::Thread,
    uprobe::Cookie,
};

use crate::{
    count::{Counter, lost},
    filter,
    hit::hit,
    maps::{NOTES, OWN_WORDS, config},
    probed, regs, thread,
};

/// Distances of the key of a parked thread from its futex word: `parking_lot_core`'s `ThreadData` has five fields, of
/// which the compiler orders as it likes.
const WORDS_BESIDE: usize = 4;

/// Size of glibc's `pthread_cond_t`.
const CONDITION_BYTES: u64 = 48;

/// What is known of a wait that begins.
pub struct Noted {
    /// Address that its statistics are kept under: the futex word, or the lock.
    pub address: u64,
    /// [`OWN_WORD`] or 0.
    pub flags: u32,
    row: u32,
    inside: u32,
    word: u64,
}

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
    stack <= note.stack && read_word(note.stack) == Some(note.return_address)
}

/// What the last note of the current thread says of a wait on `word`.
#[inline(always)]
pub fn noted(tid: u32, op: u32, word: u64) -> Noted {
    let nothing = Noted {
        address: word,
        flags: 0,
        row: 0,
        inside: 0,
        word,
    };
    if config!(slow) == 0 {
        return nothing;
    }
    fitting(tid, op, word).unwrap_or(nothing)
}

#[inline(never)]
fn fitting(tid: u32, op: u32, word: u64) -> Option<Noted> {
    let note = NOTES.get_ptr_mut(thread::index(tid, config!(thread_mask)))?;
    // SAFETY: a live array element; another thread's is told by its id.
    let note = unsafe { &mut *note };
    if note.tid != tid {
        return None;
    }
    let place = Place::unpack(note.place);
    let fits = match place.fit {
        Fit::Inside | Fit::Variable => has_inside(note, &place, word),
        Fit::Keyed => has_key(word, note.object),
        Fit::Told => note.own_word == word,
        Fit::OnStack => word < note.stack && word >= regs::stack_pointer()?,
        Fit::Condition if note.own_word == 0 => op & CMD_MASK == WAIT_BITSET,
        Fit::Condition => word.wrapping_sub(note.own_word) < CONDITION_BYTES,
        Fit::Tells | Fit::Over => false,
    };
    if !fits || !is_within(note, regs::stack_pointer()?) {
        return None;
    }
    if matches!(place.fit, Fit::Inside | Fit::Variable) {
        return Some(Noted {
            address: word,
            flags: 0,
            row: note.row,
            inside: word.wrapping_sub(note.object) as u32,
            word,
        });
    }
    note.listed_word = word;
    Some(Noted {
        address: note.object.wrapping_add(u64::from(place.low)),
        flags: OWN_WORD,
        row: note.row,
        inside: place.low,
        word,
    })
}

/// Whether the key that the owner of this futex word parks under, which lies beside it, is the lock. A writer that waits
/// for the last reader parks under the next address.
#[inline(always)]
fn has_key(word: u64, object: u64) -> bool {
    for distance in 1..=WORDS_BESIDE as u64 {
        for beside in [
            word.wrapping_sub(distance * 8),
            word.wrapping_add(distance * 8),
        ] {
            if read_word(beside).is_some_and(|key| key.wrapping_sub(object) <= 1) {
                return true;
            }
        }
    }
    false
}

/// Keeps with the statistics what is known of the wait that begins, and lists a word of the thread's own for those that
/// wake it.
///
/// # Safety
/// `lock` is a live element of the lock array, whose key is for `noted.address`.
#[inline(always)]
pub unsafe fn record(lock: *mut Lock, noted: &Noted) {
    if config!(slow) == 0 {
        return;
    }
    // SAFETY: the caller's promise.
    unsafe {
        (*lock).row = noted.row;
        (*lock).inside = noted.inside;
        if noted.flags & OWN_WORD != 0 {
            let key = LockKey {
                address: noted.word,
                ..(*lock).key
            };
            if OWN_WORDS.insert(key, noted.address, 0).is_err() {
                lost(Counter::WakesLost);
            }
        }
    }
}

/// What to account a wake of this word to: the lock that a thread waits for which sleeps there on a word of its own.
#[inline(always)]
pub fn woken(key: LockKey) -> LockKey {
    if config!(slow) == 0 {
        return key;
    }
    // SAFETY: a live map value, copied out at once.
    match OWN_WORDS.get_ptr(&key).map(|address| unsafe { *address }) {
        Some(address) => LockKey { address, ..key },
        None => key,
    }
}

/// Whether the thread's last wait was on a word of its own.
#[inline(always)]
pub fn on_own_word(thread: &Thread) -> bool {
    config!(slow) == 1 && thread.flags & OWN_WORD != 0
}

/// The thread sleeps on its own word no more.
#[inline(never)]
pub fn awake(thread: &Thread) {
    let Some(note) = NOTES.get_ptr_mut(thread::index(thread.tid, config!(thread_mask))) else {
        lost(Counter::Internal);
        return;
    };
    // SAFETY: a live array element; another thread's is told by its id.
    let note = unsafe { &mut *note };
    if note.tid == thread.tid {
        let key = LockKey {
            address: note.listed_word,
            tgid: thread.tgid,
            generation: thread.generation,
        };
        let _ = OWN_WORDS.remove(key);
        note.listed_word = 0;
    }
}

/// The thread has ended, or runs another program.
#[inline(always)]
pub fn gone(tid: u32) {
    if config!(slow) == 0 {
        return;
    }
    if let Some(note) = NOTES.get_ptr_mut(thread::index(tid, config!(thread_mask))) {
        // SAFETY: as above.
        unsafe {
            if (*note).tid == tid {
                (*note).tid = 0;
            }
        }
    }
}

#[inline(always)]
fn read_word(address: u64) -> Option<u64> {
    let mut word = 0u64;
    // SAFETY: the destination is 8 bytes long; the helper checks the source.
    let failed =
        unsafe { bpf_probe_read_user((&raw mut word).cast(), 8, address as *const c_void) };
    (failed == 0).then_some(word)
}
