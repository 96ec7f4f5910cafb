//! Whether what a probe told is about the wait that begins.

use holdup_abi::{
    futex::{CMD_MASK, WAIT_BITSET},
    slow::{Fit, OWN_WORD, Place},
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

/// What is known of a wait that begins.
pub struct Noted {
    /// Address that its statistics are kept under: the futex word, or the lock.
    pub address: u64,
    /// [`OWN_WORD`] or 0.
    pub flags: u32,
    pub row: u32,
    pub inside: u32,
    pub word: u64,
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
