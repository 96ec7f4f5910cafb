//! An owner word that names a thread which is younger than the waits: the owner has ended, and its id is another's.
//!
//! Whoever lets go of a lock that is waited for wakes a waiter, which then has it or sleeps anew. So when all waiters
//! have slept since before the thread was born, nobody has let go since, and the thread cannot have taken the lock.

use super::parts::Parts;
use crate::{
    ingest::clock::monotonic_ns,
    model::{Holder, Kind, explanation::Confidence},
    proc::process::Proc,
};

/// Births are told in clock ticks, sleeps from another clock.
const MARGIN_NS: u64 = 50_000_000;

/// Whether the holder was born after all waiters fell asleep.
#[must_use]
pub fn is_younger(holder: &Holder, parts: &Parts) -> bool {
    if holder.confidence != Confidence::Exact || holder.comm.is_empty() {
        return false;
    }
    let Some(born_ns) = born_ns(holder.tid) else {
        return false;
    };
    let youngest = parts.waiters.iter().map(|waiter| waiter.since_ns);
    // One whose age is not known may have been woken.
    let youngest = youngest.collect::<Option<Vec<u64>>>();
    let youngest = youngest.and_then(|sinces| sinces.into_iter().max());
    youngest.is_some_and(|since_ns| outlives(since_ns, born_ns))
}

const fn outlives(asleep_since_ns: u64, born_ns: u64) -> bool {
    asleep_since_ns.saturating_add(MARGIN_NS) < born_ns
}

/// Whether this kind of lock has an owner that must let go.
#[must_use]
pub const fn has_owner(kind: Kind) -> bool {
    matches!(kind, Kind::Mutex | Kind::RwlockRead | Kind::RwlockWrite)
}

/// The holder is the one that has ended, not the one with its id.
pub fn mark(holder: &mut Holder) {
    holder.comm = String::new();
    holder.known_by = format!(
        "{}; the thread has ended and its id is another's",
        holder.known_by
    );
    holder.since_ns = None;
}

/// Birth of a thread on the monotonic clock.
fn born_ns(tid: u32) -> Option<u64> {
    // SAFETY: a call without pointers.
    let per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).ok()?;
    let ticks = Proc::default().stat(tid)?.start_ticks;
    let since_boot_ns = u128::from(ticks) * 1_000_000_000 / u128::from(per_second.max(1));
    // The boot clock goes on in suspend, the monotonic one does not.
    let suspended_ns = boot_ns().saturating_sub(monotonic_ns());
    u64::try_from(since_boot_ns).ok()?.checked_sub(suspended_ns)
}

fn boot_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is writable; the clock exists since Linux 2.6.39, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn younger_is_well_after_the_last_fell_asleep() {
        const SECOND: u64 = 1_000_000_000;
        assert!(outlives(SECOND, 2 * SECOND));
        assert!(!outlives(SECOND, SECOND), "within the clocks' error");
        assert!(!outlives(2 * SECOND, SECOND));
        assert!(!outlives(u64::MAX, u64::MAX));
    }

    #[test]
    fn this_thread_was_born_before_now() {
        // SAFETY: a system call without arguments.
        let tid = unsafe { libc::gettid() }.cast_unsigned();
        let born_ns = born_ns(tid).unwrap();
        let now_ns = monotonic_ns();
        assert!(born_ns <= now_ns + MARGIN_NS, "{born_ns}, now {now_ns}");
        assert!(now_ns - born_ns.min(now_ns) < 3_600 * 1_000_000_000);
    }
}
