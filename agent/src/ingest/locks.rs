//! The table of locks.

use std::{io, os::fd::AsFd};

use holdup_abi::lock::Lock;

use super::mapped::Mapped;

/// Read-only view of the kernel's array of locks.
#[derive(Debug)]
pub struct LockTable(Mapped<Lock>);

impl LockTable {
    /// Maps the array map `fd` of `count` elements, created with `BPF_F_MMAPABLE` (Linux 5.5).
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn map(fd: impl AsFd, count: usize) -> io::Result<Self> {
        Mapped::new(fd, count).map(Self)
    }

    /// Locks in use with their slots.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Lock)> {
        self.0.iter().filter(|(_, lock)| lock.key.tgid != 0)
    }
}
