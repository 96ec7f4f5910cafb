//! `threading.RLock` of CPython 3.2 to 3.13, which stores its owner: `Modules/_threadmodule.c`, `rlockobject` (reference
//! count 0, type 8, lock 16, owner 24, count 32). Nothing leads from the semaphore that a thread sleeps on to the object
//! that has it, but the waiter is in a method of the object, so that its stack points to it.
//!
//! The owner is a `pthread_t`: the address of glibc's `struct pthread`, in which the thread's id is. musl's is laid
//! out otherwise, and is not read.

use std::collections::BTreeSet;

use crate::runtime::{Owner, Wait};

const LOCK: u64 = 16;
const OWNER: u64 = 24;
const COUNT: u64 = 32;
/// Nobody acquires a lock so often without letting go.
const MAX_COUNT: u64 = 1 << 32;

/// Stack that is searched, from the system call outwards: the frames between the call and the lock's method take some
/// hundred bytes.
const STACK_BYTES: u64 = 2048;

/// `tcbhead_t.self`: the structure's own address. `sysdeps/x86_64/nptl/tls.h`.
const SELF: u64 = 16;
/// `pthread.tid`, behind the 704 bytes of the header and a list node: glibc 2.11 to 2.42, `nptl/descr.h`.
const TID: u64 = 720;

const KNOWN_BY: &str = "CPython RLock owner";

/// The thread that owns the `RLock` that the waiter is in; none when the lock is of another kind.
pub(super) fn owner(wait: &Wait<'_>) -> Option<Owner> {
    if cfg!(not(target_arch = "x86_64")) || wait.sp == 0 {
        return None;
    }
    let words = (0..STACK_BYTES / 8).map_while(|word| wait.u64_at(wait.sp, word * 8));
    let objects: BTreeSet<u64> = words.filter(|word| is_object(*word)).collect();
    objects.into_iter().find_map(|object| {
        let semaphore = wait.u64_at(object, LOCK)?;
        let count = wait.u64_at(object, COUNT)?;
        if semaphore != wait.address || !(1..MAX_COUNT).contains(&count) {
            return None;
        }
        let thread = wait.u64_at(object, OWNER).filter(|&it| is_object(it))?;
        if wait.u64_at(thread, SELF)? != thread {
            return None;
        }
        wait.owner(wait.u32_at(thread, TID)?, KNOWN_BY)
    })
}

/// Whether something may lie there.
const fn is_object(address: u64) -> bool {
    const FIRST: u64 = 1 << 16;
    const LAST: u64 = 1 << 47;
    address.is_multiple_of(8) && address >= FIRST && address < LAST
}
