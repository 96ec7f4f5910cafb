//! Whether what a probe told is about the wait that begins.

use holdup_abi::{
    futex::{CMD_MASK, WAIT_BITSET},
    slow::{Fit, Place},
};

use super::{has_inside, is_within, read_word};
use crate::{
    maps::{NOTES, config},
    regs, thread,
};

/// How many words away the key of a parked thread can be from its futex word: `parking_lot_core`'s `ThreadData` has four
/// pointer-sized fields, and the compiler orders them as it likes.
const WORDS_BESIDE: u64 = 4;

/// Size of glibc's `pthread_cond_t`.
const CONDITION_BYTES: u64 = 48;

/// Address that a wait on `word` is accounted under: that of the lock where the word is the thread's own and its last note
/// is about this wait, else the word's.
#[inline(always)]
pub fn address(tid: u32, op: u32, word: u64) -> u64 {
    if config!(slow) == 0 {
        return word;
    }
    fitting(tid, op, word).unwrap_or(word)
}

#[inline(never)]
fn fitting(tid: u32, op: u32, word: u64) -> Option<u64> {
    let note = NOTES.get_ptr_mut(thread::index(tid, config!(thread_mask)))?;
    // SAFETY: a live array element; another thread's is told by its id.
    let note = unsafe { &mut *note };
    if note.tid != tid {
        return None;
    }
    note.fits = 0;
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
    note.fits = 1;
    if !place.fit.is_own_word() {
        note.inside = word.wrapping_sub(note.object) as u32;
        return None;
    }
    note.inside = place.low;
    note.listed_word = word;
    Some(note.object.wrapping_add(u64::from(place.low)))
}

/// Whether the key that the owner of this futex word parks under, which lies beside it, is the lock. A writer that waits
/// for the last reader parks under the next address.
#[inline(always)]
fn has_key(word: u64, object: u64) -> bool {
    for distance in 1..=WORDS_BESIDE {
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
