//! Go: goroutines never sleep in a futex, only the threads that run them. Sources:
//! `src/runtime/{os_linux,lock_futex,proc}.go`.

use crate::model::Kind;
use crate::runtime::{Runtime, Verdict, Wait, name::Call};

/// The Go runtime.
pub(in crate::runtime) struct Go;

/// Name in reports.
const NAME: &str = "go";

impl Runtime for Go {
    fn by_calls(&self, wait: &Wait<'_>, calls: &[Call<'_>]) -> Option<Verdict> {
        let called = |names: &[&str]| calls.iter().any(|call| names.contains(&call.name));
        // The only function through which the runtime sleeps; its `.abi0` entry is the same function.
        if !called(&["runtime.futex", "runtime.futex.abi0", "runtime.futexsleep"]) {
            return None;
        }
        let (kind, evidence) = if called(&["runtime.lock2", "runtime.lock", "runtime.lockWithRank"])
        {
            (Kind::Runtime, "a lock of the Go runtime itself")
        } else if called(&[
            "runtime.mPark",
            "runtime.stopm",
            "runtime.stoplockedm",
            "runtime.mpark",
        ]) {
            (Kind::Idle, "a thread of the Go runtime with nothing to run")
        } else {
            (Kind::Runtime, "the Go runtime's own wait")
        };
        Some(Verdict::new(kind, NAME, wait.address, evidence))
    }
}
