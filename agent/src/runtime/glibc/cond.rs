//! `pthread_cond_t` since 2.25 (`sysdeps/nptl/bits/thread-shared-types.h`): sequence 0, start of group 1 8, references
//! 16 and 20, sizes 24 and 28, size of group 1 32, waiters 36, signals 40 and 44. 2.41 dropped the references, so that
//! waiters lie at 28 and signals at 32 and 36.

use holdup_abi::futex;

use super::NAME;
use crate::{
    model::Kind,
    runtime::{Verdict, Wait},
};

struct Version {
    references: Option<u64>,
    first_size: u64,
    waiters: u64,
    signals: u64,
}

const VERSIONS: &[Version] = &[
    Version {
        references: Some(16),
        first_size: 32,
        waiters: 36,
        signals: 40,
    },
    Version {
        references: None,
        first_size: 24,
        waiters: 28,
        signals: 32,
    },
];

const SHARED: u32 = 1;
const WAITER_SHIFT: u32 = 3;
const MAX_WAITERS: u64 = 1 << 22;
/// More waits than any condition variable has seen: what looks like a position beyond is a pointer.
const MAX_POSITION: u64 = 1 << 40;

/// Waits for the signal word of one of two groups; the object is 8-byte aligned, so the address tells which.
fn base(wait: &Wait<'_>, version: &Version) -> Option<u64> {
    (wait.address & !7).checked_sub(version.signals)
}

/// The condition variable that a thread known to wait for one waits for; none when no layout fits.
pub(in crate::runtime) fn locate(wait: &Wait<'_>) -> Option<u64> {
    let first = |fits: fn(&Wait<'_>, &Version) -> Option<u64>| {
        VERSIONS.iter().find_map(|version| fits(wait, version))
    };
    // The waiter may be gone by now, and its count with it: then the looser check decides.
    first(strict).or_else(|| first(plausible))
}

/// The positions of a condition variable only grow, and group 1 starts before the end.
fn plausible(wait: &Wait<'_>, version: &Version) -> Option<u64> {
    let base = base(wait, version)?;
    let end = wait.u64_at(base, 0)? >> 1;
    let start = wait.u64_at(base, 8)? >> 1;
    let first_size = wait.u32_at(base, version.first_size)?;
    let flags = wait.u32_at(base, version.waiters)?;
    let sizes_fit = u64::from(first_size >> 2) <= end && first_size & 3 < 3;
    let fits = end >= 1
        && end >= start
        && sizes_fit
        && u64::from(flags >> WAITER_SHIFT) <= end
        && (flags & SHARED == 0) == wait.is_private();
    fits.then_some(base)
}

/// As [`plausible`], and at least one waiter is counted, one of them in this group.
fn strict(wait: &Wait<'_>, version: &Version) -> Option<u64> {
    let base = plausible(wait, version)?;
    let flags = wait.u32_at(base, version.waiters)?;
    let waiters = u64::from(flags >> WAITER_SHIFT);
    let group = u64::from(wait.address % 8 == 4);
    let referenced = match version.references {
        Some(references) => {
            let own = u64::from(wait.u32_at(base, references + 4 * group)? >> 1);
            let other = u64::from(wait.u32_at(base, references + 4 * (1 - group))? >> 1);
            // A waiter is counted before it takes its reference and after it gave it back.
            own >= 1 && own + other <= waiters
        }
        None => wait.u64_at(base, version.signals + 8)? == 0,
    };
    let end = wait.u64_at(base, 0)? >> 1;
    let fits =
        (1..=MAX_WAITERS).contains(&waiters) && waiters <= end && end <= MAX_POSITION && referenced;
    fits.then_some(base)
}

/// Twelve words must fit together.
pub(in crate::runtime) fn by_memory(wait: &Wait<'_>) -> Option<Verdict> {
    // Up to 2.40 the expected value is 0, later the group's signal count; up to 2.33 a wait without timeout is
    // FUTEX_WAIT.
    if !matches!(wait.command(), futex::WAIT | futex::WAIT_BITSET) || wait.word()? != wait.value {
        return None;
    }
    let base = VERSIONS.iter().find_map(|version| strict(wait, version))?;
    Some(Verdict::new(
        Kind::Condvar,
        NAME,
        base,
        "memory has the layout of a glibc condition variable with waiters",
    ))
}
