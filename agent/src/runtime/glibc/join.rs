//! `pthread_join`: waits for the kernel to clear `tid` in `struct pthread`, shared, since the kernel's wake is
//! (`nptl/pthread_join_common.c`).

use holdup_abi::futex;

use super::NAME;
use crate::{
    model::Kind,
    runtime::{Owner, Verdict, Wait},
};

/// `list_t list`, the list of all stacks, is the field before `tid` on every machine (`nptl/descr.h`).
const LIST_BEFORE_TID: u64 = 16;

/// The thread that a thread known to join waits for.
pub(in crate::runtime) fn owner(wait: &Wait<'_>) -> Option<Owner> {
    wait.word().filter(|word| *word == wait.value)?;
    wait.owner(wait.value, "id word of the joined thread")
}

/// A shared wait for a word that holds a live thread's id, next to links that lead back here.
pub(in crate::runtime) fn by_memory(wait: &Wait<'_>) -> Option<Verdict> {
    if wait.is_private() || !matches!(wait.command(), futex::WAIT | futex::WAIT_BITSET) {
        return None;
    }
    let owner = owner(wait)?;
    let list = wait.address.checked_sub(LIST_BEFORE_TID)?;
    let next = wait.memory.u64(list)?;
    let previous = wait.u64_at(list, 8)?;
    if wait.u64_at(next, 8)? != list || wait.memory.u64(previous)? != list {
        return None;
    }
    Some(
        Verdict::new(
            Kind::Join,
            NAME,
            wait.address,
            "shared wait for the id word of a live thread",
        )
        .owned(Some(owner)),
    )
}
