//! Waits of goroutines for semaphores of the Go runtime, on which its locks are built.

use crate::lock::LockKey;

/// Operation of a lock on whose semaphore goroutines wait, in place of a futex operation: see [`crate::futex`].
pub const SEMAPHORE: u32 = 80;

/// A goroutine that is parked, while its process lives.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Goroutine {
    /// Address of its record (`runtime.g`).
    pub g: u64,
    /// Process id.
    pub tgid: u32,
    /// 0.
    pub padding: u32,
}

/// Its wait.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The semaphore.
    pub key: LockKey,
    /// `CLOCK_MONOTONIC` time at which it began.
    pub since_ns: u64,
    /// Slot of the semaphore in the lock array.
    pub slot: u32,
    /// Thread that the goroutine ran on.
    pub tid: u32,
    /// 1: its stack was sampled, its end is reported too.
    pub sampled: u32,
    /// 0.
    pub padding: u32,
}

const _: () = assert!(size_of::<Goroutine>() == 16 && size_of::<Wait>() == 40);
