//! Robust mutexes whose owner has died: the kernel says so in the word, until a waiter has taken it over.

use crate::{
    model::{self, Kind},
    proc::memory::{Memory, Process},
};

/// `FUTEX_OWNER_DIED` of `include/uapi/linux/futex.h`.
const OWNER_DIED: u32 = 0x4000_0000;
/// `FUTEX_TID_MASK`.
const TID_MASK: u32 = 0x3fff_ffff;
/// Where glibc's `pthread_mutex_t` has its kind, and the bit of that which means robust.
const KIND: u64 = 16;
const ROBUST: u32 = 16;

/// Whether the lock is a robust mutex that nobody has taken over from its dead owner.
#[must_use]
pub fn is_left(lock: &model::Lock) -> bool {
    let process = Process { pid: lock.pid };
    lock.kind == Kind::Mutex
        && lock.runtime.as_deref() == Some("glibc")
        && says(&process, lock.address)
}

fn says(memory: &impl Memory, mutex: u64) -> bool {
    let kind = mutex.checked_add(KIND).and_then(|at| memory.u32(at));
    let word = memory.u32(mutex);
    kind.is_some_and(|kind| kind & ROBUST != 0)
        && word.is_some_and(|word| word & OWNER_DIED != 0 && word & TID_MASK == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::memory::Copied;

    #[test]
    fn the_kernel_has_said_so() {
        let left = |word: u32, kind: u32| {
            let mut bytes = [0; 40];
            bytes[..4].copy_from_slice(&word.to_le_bytes());
            bytes[16..20].copy_from_slice(&kind.to_le_bytes());
            let memory = Copied {
                base: 0x1000,
                bytes: &bytes,
            };
            says(&memory, 0x1000)
        };
        assert!(left(0xc000_0000, 16 | 128));
        assert!(!left(0xc000_0000, 0), "bits of another kind of lock");
        assert!(!left(0xc000_0123, 16), "a waiter has taken it over");
        assert!(!left(0x8000_0123, 16));
        let nothing = Copied {
            base: 0,
            bytes: &[],
        };
        assert!(!says(&nothing, 0) && !says(&nothing, u64::MAX));
    }
}
