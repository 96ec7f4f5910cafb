//! `pthread_rwlock_t`: readers 0, writers 4, wrphase futex 8, writers futex 12, current writer 24, shared 28,
//! padding 32..48, flags 48 (`sysdeps/nptl/bits/struct_rwlock.h`, `nptl/pthread_rwlock_common.c`).
//!
//! | who waits | futex | expected value |
//! |---|---|---|
//! | reader behind a writer | wrphase (+8) | 3 |
//! | writer, first in line behind readers | wrphase (+8) | 2 |
//! | writer behind a writer | writers (+12) | 3 |
//! | reader that lets writers go first | readers (0) | readers with the waiting bit |

use holdup_abi::futex;

use super::NAME;
use crate::{
    model::Kind,
    runtime::{Owner, Verdict, Wait},
};

const WRITER_PHASE_FUTEX: u64 = 8;
const WRITERS_FUTEX: u64 = 12;
const CURRENT_WRITER: u64 = 24;
const IS_SHARED: u64 = 28;
const PADDING: u64 = 32;
const FLAGS: u64 = 48;

// Low bits of `__readers`; the rest counts readers.
const WRITER_PHASE: u32 = 1;
const WRITER_LOCKED: u32 = 2;
const READER_WAITS: u32 = 4;
const READER_SHIFT: u32 = 3;

const USED: u32 = 2;
const SET_AND_USED: u32 = 3;
/// Preference for readers, for writers (which acts like the former), for writers without recursion.
const MAX_FLAGS: u32 = 2;

struct Layout {
    base: u64,
    readers: u32,
    writer: u32,
}

/// Which kinds of waiter use which futex of the lock, with which value.
fn candidate(wait: &Wait<'_>) -> Option<(Kind, u64)> {
    // The object is 8-byte aligned, so the low bits tell the two inner futexes apart from each other.
    let (kind, offset) = match (wait.value, wait.address % 8) {
        (SET_AND_USED, 4) => (Kind::RwlockWrite, WRITERS_FUTEX),
        (SET_AND_USED, 0) => (Kind::RwlockRead, WRITER_PHASE_FUTEX),
        (USED, 0) => (Kind::RwlockWrite, WRITER_PHASE_FUTEX),
        (value, 0) if value & READER_WAITS != 0 => (Kind::RwlockRead, 0),
        _ => return None,
    };
    Some((kind, wait.address.checked_sub(offset)?))
}

fn layout(wait: &Wait<'_>, base: u64) -> Option<Layout> {
    let shared = wait.u32_at(base, IS_SHARED)?;
    // `__rwelision` is one signed byte that only some kernels' builds set; the rest of the padding is zero.
    let padding = (
        wait.u64_at(base, PADDING)? & !0xff,
        wait.u64_at(base, PADDING + 8)?,
    );
    let fits = shared <= 1
        && (shared == 0) == wait.is_private()
        && padding == (0, 0)
        && wait.u32_at(base, FLAGS)? <= MAX_FLAGS;
    fits.then_some(())?;
    Some(Layout {
        base,
        readers: wait.u32_at(base, 0)?,
        writer: wait.u32_at(base, CURRENT_WRITER)?,
    })
}

/// Base and current writer of a lock that `kind` is known to wait for.
pub(in crate::runtime) fn locate(wait: &Wait<'_>, kind: Kind) -> Option<(u64, Option<Owner>)> {
    let (seen, base) = candidate(wait)?;
    let layout = layout(wait, base).filter(|_| seen == kind)?;
    Some((layout.base, owner(wait, &layout)))
}

fn owner(wait: &Wait<'_>, layout: &Layout) -> Option<Owner> {
    wait.owner(layout.writer, "glibc rwlock writer word")
}

/// Layout, state bits and futex values must agree, and either a live writer or a count of readers hold the lock.
pub(in crate::runtime) fn by_memory(wait: &Wait<'_>) -> Option<Verdict> {
    if wait.command() != futex::WAIT_BITSET || wait.word()? != wait.value {
        return None;
    }
    let (kind, base) = candidate(wait)?;
    let layout = layout(wait, base)?;
    let phase = wait.u32_at(base, WRITER_PHASE_FUTEX)?;
    let writers = wait.u32_at(base, WRITERS_FUTEX)?;
    if phase > SET_AND_USED || writers > SET_AND_USED {
        return None;
    }
    let state = layout.readers & (WRITER_PHASE | WRITER_LOCKED);
    let count = layout.readers >> READER_SHIFT;
    let owner = owner(wait, &layout);
    let held_by_writer = state == WRITER_PHASE | WRITER_LOCKED && phase & 1 == 1 && owner.is_some();
    let held_by_readers = state == WRITER_LOCKED
        && count >= 1
        && layout.writer == 0
        && phase == USED
        && writers & 1 == 1;
    if !held_by_writer && !held_by_readers {
        return None;
    }
    let evidence = if held_by_writer {
        "memory has the layout of a glibc rwlock with a live writer"
    } else {
        "memory has the layout of a glibc rwlock held by readers"
    };
    Some(Verdict::new(kind, NAME, base, evidence).owned(owner))
}
