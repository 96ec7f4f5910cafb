//! `pthread_mutex_t`: type 0, lock word 4 (the futex), waiters 8, unused 12, count 20, robust list 24..40.

use holdup_abi::futex;

use super::NAME;
use crate::{
    model::Kind,
    runtime::{Owner, Verdict, Wait, op::TID_MASK},
};

const LOCK: u64 = 4;
const WAITERS: u64 = 8;
const UNUSED: u64 = 12;
const COUNT: u64 = 20;
const LIST: u64 = 24;

const TYPE_MASK: u32 = 3;
const ROBUST: u32 = 4;
const PRIORITY_INHERIT: u32 = 8;
const SHARED: u32 = 128;
const ALL: u32 = TYPE_MASK | ROBUST | PRIORITY_INHERIT | SHARED;

/// `EBUSY` with the waiters bit: a locked mutex of the normal type, which has no owner.
const NORMAL_LOCKED: u32 = 0x8000_0010;
const WAITERS_BIT: u32 = 0x8000_0000;
const MAX_WAITERS: u32 = 1 << 20;
const KNOWN_BY: &str = "musl mutex owner bits";

/// Address and type of a mutex whose lock word is the futex.
fn object(wait: &Wait<'_>) -> Option<(u64, u32)> {
    let base = wait.address.checked_sub(LOCK)?;
    let kind = wait.memory.u32(base)?;
    (kind & !ALL == 0 && kind & TYPE_MASK != TYPE_MASK).then_some((base, kind))
}

/// Base and owner of a mutex that a thread is known to wait for.
pub(in crate::runtime) fn locate(wait: &Wait<'_>) -> Option<(u64, Option<Owner>)> {
    let (base, kind) = object(wait)?;
    // Normal mutexes hold EBUSY where the others hold their owner.
    let owner = match wait.word() {
        Some(word) if kind & !SHARED != 0 => wait.owner(word & TID_MASK, KNOWN_BY),
        _ => None,
    };
    Some((base, owner))
}

/// Base of the mutex that a priority-inheritance word belongs to.
pub(in crate::runtime) fn priority_inheritance(wait: &Wait<'_>) -> Option<u64> {
    let (base, kind) = object(wait)?;
    let linked = wait.u64_at(base, LIST)? != 0 && wait.u64_at(base, LIST + 8)? != 0;
    (kind & PRIORITY_INHERIT != 0 && linked).then_some(base)
}

/// All 40 bytes must fit: the type, the word that this type has while somebody sleeps, the count of sleepers, and a
/// list that only mutexes with an owner use.
pub(in crate::runtime) fn by_memory(wait: &Wait<'_>) -> Option<Verdict> {
    let (base, kind) = object(wait)?;
    let waiters = wait.u32_at(base, WAITERS)?;
    let list = (wait.u64_at(base, LIST)?, wait.u64_at(base, LIST + 8)?);
    let fits = wait.command() == futex::WAIT
        && wait.word()? == wait.value
        && wait.is_private() == (kind & SHARED == 0)
        && kind & PRIORITY_INHERIT == 0
        && (1..=MAX_WAITERS).contains(&waiters)
        && wait.u32_at(base, UNUSED)? == 0;
    fits.then_some(())?;
    let owner = if kind & !SHARED == 0 {
        let free_of_owner = wait.u32_at(base, COUNT)? == 0 && list == (0, 0);
        (wait.value == NORMAL_LOCKED && free_of_owner).then_some(None)?
    } else {
        let linked = wait.value & WAITERS_BIT != 0 && list.0 != 0 && list.1 != 0;
        linked.then_some(())?;
        Some(wait.owner(wait.value & TID_MASK, KNOWN_BY)?)
    };
    Some(
        Verdict::new(
            Kind::Mutex,
            NAME,
            base,
            "memory has the layout of a locked musl mutex with waiters",
        )
        .owned(owner),
    )
}
