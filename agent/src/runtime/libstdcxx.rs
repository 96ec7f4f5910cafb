//! libstdc++: what it does not leave to the C library. `std::mutex`, `std::shared_mutex`, `std::condition_variable`,
//! `std::thread::join` and `std::call_once` are thin wrappers of POSIX functions and are recognised as those.
//!
//! Sources: `libstdc++-v3/libsupc++/guard.cc`, `src/c++11/futex.cc`, `include/bits/{atomic_wait,semaphore_base}.h`,
//! `include/std/{latch,barrier}`.

use super::{Runtime, Verdict, Wait, name::Call};
use crate::model::Kind;

/// GNU's C++ library.
pub(super) struct Libstdcxx;

/// Name in reports.
const NAME: &str = "libstdcxx";

impl Runtime for Libstdcxx {
    fn by_calls(&self, wait: &Wait<'_>, calls: &[Call<'_>]) -> Option<Verdict> {
        let rule = calls.iter().find_map(rule)?;
        // `std::call_once` on newer versions and user waits go through the same atomics: POSIX primitives further in
        // decide.
        if calls.iter().any(|call| super::posix::kind(call).is_some()) {
            return None;
        }
        let (kind, evidence) = rule;
        Some(Verdict::new(kind, NAME, wait.address, evidence))
    }
}

fn rule(call: &Call<'_>) -> Option<(Kind, &'static str)> {
    // Everything is inlined but the wait, whose template argument is a closure of the function that waits.
    let waits_in = |function: &str| {
        let is_wait = call.name.starts_with("std::__atomic_wait_address")
            || call.name.starts_with("std::__detail::__waiter");
        is_wait && call.name.contains(function)
    };
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| call.name.starts_with(prefix));
    if call.name == "__cxa_guard_acquire" {
        Some((Kind::Once, "initialisation of a function-local static"))
    } else if starts(&[
        "std::counting_semaphore<",
        "std::__atomic_semaphore::",
        "std::__semaphore_impl::",
    ]) || waits_in("__atomic_semaphore::")
    {
        Some((Kind::Semaphore, "called from std::counting_semaphore"))
    } else if starts(&["std::latch::", "std::barrier<", "std::__tree_barrier"])
        || waits_in("std::latch::")
        || waits_in("std::barrier<")
        || waits_in("__tree_barrier")
    {
        Some((Kind::Barrier, "called from std::latch or std::barrier"))
    } else if starts(&["std::__atomic_futex_unsigned", "std::__future_base::"]) {
        Some((Kind::Condvar, "waits for a std::future"))
    } else {
        None
    }
}
