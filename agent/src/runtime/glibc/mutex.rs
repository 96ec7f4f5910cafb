//! `pthread_mutex_t`: lock word 0, count 4, owner 8, nusers 12, kind 16, spins 20, robust list 24..40.

use holdup_abi::futex;

use super::NAME;
use crate::{
    model::Kind,
    runtime::{Owner, Verdict, Wait, op::TID_MASK},
};

const OWNER: u64 = 8;
const USERS: u64 = 12;
const KIND: u64 = 16;
const LIST: u64 = 24;

// Bits of `__kind`, `nptl/pthreadP.h`.
const TYPE_MASK: u32 = 3;
const ROBUST: u32 = 16;
const PRIORITY_INHERIT: u32 = 32;
const PRIORITY_PROTECT: u32 = 64;
const SHARED: u32 = 128;
const ELISION: u32 = 256 | 512;
const ALL: u32 = TYPE_MASK | ROBUST | PRIORITY_INHERIT | PRIORITY_PROTECT | SHARED | ELISION;

/// The lock word while somebody sleeps, `nptl/lowlevellock.c`.
pub(in crate::runtime) const LOCKED_WITH_WAITERS: u32 = 2;
/// Nobody has more threads in one mutex and its condition variables.
const MAX_USERS: u32 = 1 << 20;
/// `FUTEX_OWNER_DIED` of `include/uapi/linux/futex.h`.
const OWNER_DIED: u32 = 0x4000_0000;
const KNOWN_BY: &str = "glibc mutex owner word";

fn kind(wait: &Wait<'_>) -> Option<u32> {
    wait.u32_at(wait.address, KIND)
        .filter(|kind| kind & !ALL == 0)
}

/// Id of the owner of a mutex that is known to be one; none when unlocked or in hand-over.
pub(in crate::runtime) fn owner_word(wait: &Wait<'_>) -> Option<u32> {
    let kind = kind(wait)?;
    // A lock that has no owner word (malloc's, stdio's) reads something else there; a free mutex reads 0 in the lock.
    let word = wait.word().filter(|word| *word != 0)?;
    let tid = if kind & ROBUST == 0 {
        wait.u32_at(wait.address, OWNER)?
    } else {
        // The owner word of one that was taken over from the dead says so until the mutex is declared consistent.
        word & TID_MASK
    };
    (tid != 0).then_some(tid)
}

/// Id of the owner that died with a robust mutex, while nobody has taken it over: the kernel has cleared the id in the
/// lock word and left `FUTEX_OWNER_DIED`; the owner word still has it.
pub(in crate::runtime) fn dead_owner(wait: &Wait<'_>) -> Option<u32> {
    let is_robust = kind(wait)? & ROBUST != 0;
    let word = wait.word()?;
    if !is_robust || word & OWNER_DIED == 0 || word & TID_MASK != 0 {
        return None;
    }
    let tid = wait.u32_at(wait.address, OWNER)?;
    (1..TID_MASK).contains(&tid).then_some(tid)
}

/// The live owner of a mutex that is known to be one.
pub(in crate::runtime) fn owner(wait: &Wait<'_>) -> Option<Owner> {
    wait.owner(owner_word(wait)?, KNOWN_BY)
}

/// Whether a priority-inheritance word with holder `tid` is that of a glibc mutex.
pub(in crate::runtime) fn is_priority_inheritance(wait: &Wait<'_>, tid: u32) -> bool {
    kind(wait).is_some_and(|kind| kind & PRIORITY_INHERIT != 0)
        && tid != 0
        && wait.u32_at(wait.address, OWNER) == Some(tid)
}

/// All 40 bytes must fit: a lock word that has sleepers, a live owner, a user, valid kind bits that fit the operation,
/// and a list that only robust mutexes use.
pub(in crate::runtime) fn by_memory(wait: &Wait<'_>) -> Option<Verdict> {
    if !matches!(wait.command(), futex::WAIT | futex::WAIT_BITSET) {
        return None;
    }
    let kind = kind(wait)?;
    let word = wait.word()?;
    let tid = wait.u32_at(wait.address, OWNER)?;
    if word != wait.value || kind & PRIORITY_INHERIT != 0 {
        return None;
    }
    let list = (
        wait.u64_at(wait.address, LIST)?,
        wait.u64_at(wait.address, LIST + 8)?,
    );
    let fits = if kind & ROBUST != 0 {
        // Robust mutexes are waited for as shared ones (`PTHREAD_ROBUST_MUTEX_PSHARED`), by their owner's id.
        !wait.is_private() && word == tid | !TID_MASK & 0x8000_0000 && list.0 != 0 && list.1 != 0
    } else {
        wait.is_private() == (kind & SHARED == 0) && word == LOCKED_WITH_WAITERS && list == (0, 0)
    };
    let users = wait.u32_at(wait.address, USERS)?;
    if !fits || !(1..=MAX_USERS).contains(&users) {
        return None;
    }
    let owner = wait.owner(tid, KNOWN_BY)?;
    Some(
        Verdict::new(
            Kind::Mutex,
            NAME,
            wait.address,
            "memory has the layout of a glibc mutex with a live owner",
        )
        .owned(Some(owner)),
    )
}
