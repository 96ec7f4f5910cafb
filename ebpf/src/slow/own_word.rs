//! Waits on a word of the thread's own are accounted to the lock that they are for; so are those that wake it.

use holdup_abi::{
    lock::{Lock, LockKey},
    slow::{OWN_WORD, Place},
    thread::Thread,
};

use crate::{
    count::{Counter, lost},
    maps::{NOTES, OWN_WORDS, config},
    thread,
};

/// Keeps with the statistics what is known of the wait that begins, and lists a word of the thread's own for those that
/// wake it.
///
/// # Safety
/// `lock` is a live element of the lock array, whose key is for [`super::address`].
#[inline(always)]
pub unsafe fn begin(lock: *mut Lock, thread: &mut Thread) {
    if config!(slow) == 1 {
        // SAFETY: the caller's promise.
        unsafe { tell(lock, thread) };
    }
}

#[inline(never)]
unsafe fn tell(lock: *mut Lock, thread: &mut Thread) {
    // SAFETY: the caller's promise, and an array element of the current thread's, or it is another's by its id.
    unsafe {
        (*lock).row = 0;
        let Some(note) = NOTES.get_ptr_mut(thread::index(thread.tid, config!(thread_mask))) else {
            return;
        };
        if (*note).tid != thread.tid || (*note).fits == 0 {
            return;
        }
        (*lock).row = (*note).row;
        (*lock).inside = (*note).inside;
        if !Place::unpack((*note).place).fit.is_own_word() {
            return;
        }
        thread.flags |= OWN_WORD;
        let word = LockKey {
            address: (*note).listed_word,
            tgid: thread.tgid,
            generation: thread.generation,
        };
        if OWN_WORDS.insert(word, thread.address, 0).is_err() {
            lost(Counter::WakesLost);
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
