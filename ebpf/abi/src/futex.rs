//! Futex operations as the kernel numbers them (`include/uapi/linux/futex.h`).

/// Bits of the `op` argument that carry the command; the rest are flags.
pub const CMD_MASK: u32 = 0x7f;
/// `FUTEX_PRIVATE_FLAG`: the futex word is not shared between processes.
pub const PRIVATE_FLAG: u32 = 128;
/// `FUTEX_CLOCK_REALTIME`: the timeout is absolute on the real-time clock.
pub const CLOCK_REALTIME_FLAG: u32 = 256;

/// `FUTEX_WAIT`.
pub const WAIT: u32 = 0;
/// `FUTEX_WAKE`.
pub const WAKE: u32 = 1;
/// `FUTEX_REQUEUE`.
pub const REQUEUE: u32 = 3;
/// `FUTEX_CMP_REQUEUE`.
pub const CMP_REQUEUE: u32 = 4;
/// `FUTEX_WAKE_OP`.
pub const WAKE_OP: u32 = 5;
/// `FUTEX_LOCK_PI`.
pub const LOCK_PI: u32 = 6;
/// `FUTEX_UNLOCK_PI`.
pub const UNLOCK_PI: u32 = 7;
/// `FUTEX_TRYLOCK_PI`: never sleeps, so it is no wait.
pub const TRYLOCK_PI: u32 = 8;
/// `FUTEX_WAIT_BITSET`: what Rust's std and every timed glibc wait use.
pub const WAIT_BITSET: u32 = 9;
/// `FUTEX_WAKE_BITSET`.
pub const WAKE_BITSET: u32 = 10;
/// `FUTEX_WAIT_REQUEUE_PI`.
pub const WAIT_REQUEUE_PI: u32 = 11;
/// `FUTEX_CMP_REQUEUE_PI`.
pub const CMP_REQUEUE_PI: u32 = 12;
/// `FUTEX_LOCK_PI2`, since Linux 5.14.
pub const LOCK_PI2: u32 = 13;

/// holdup's own number for the `futex_waitv` system call (Linux 5.16), which has no command.
pub const FUTEX2_WAITV: u32 = 64;
/// holdup's own number for the `futex_wait` system call (Linux 6.7).
pub const FUTEX2_WAIT: u32 = 65;
/// holdup's own number for the `futex_wake` system call (Linux 6.7).
pub const FUTEX2_WAKE: u32 = 66;
/// holdup's own number for the `futex_requeue` system call (Linux 6.7).
pub const FUTEX2_REQUEUE: u32 = 67;

/// `FUTEX2_PRIVATE`: the flag of the newer calls, equal to [`PRIVATE_FLAG`] by the kernel's design.
pub const FUTEX2_PRIVATE: u32 = PRIVATE_FLAG;

/// What an operation does to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// May park the caller.
    Wait,
    /// May release parked threads.
    Wake,
    /// May move parked threads to a second futex.
    Requeue,
    /// Neither.
    Other,
}

/// Sorts a `futex` command (flags masked off, or one of holdup's own `FUTEX2_*` numbers).
#[must_use]
#[inline(always)]
pub const fn action(command: u32) -> Action {
    match command {
        WAIT | WAIT_BITSET | LOCK_PI | LOCK_PI2 | WAIT_REQUEUE_PI | FUTEX2_WAITV | FUTEX2_WAIT => {
            Action::Wait
        }
        WAKE | WAKE_BITSET | WAKE_OP | UNLOCK_PI | FUTEX2_WAKE => Action::Wake,
        REQUEUE | CMP_REQUEUE | CMP_REQUEUE_PI | FUTEX2_REQUEUE => Action::Requeue,
        _ => Action::Other,
    }
}
