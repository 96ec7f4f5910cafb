//! The table of locks.

use std::{
    io,
    os::fd::AsFd,
    sync::atomic::{AtomicU64, Ordering},
};

use holdup_abi::lock::{Lock, LockKey, RETIRED, bucket};

use super::mapped::Mapped;

/// View of the kernel's array of locks.
#[derive(Debug)]
pub struct LockTable(Mapped<Lock>);

/// What tells whether anything has happened to a lock: the first cache line of its element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Whose it is, without [`RETIRED`].
    pub key: LockKey,
    /// It is being taken back.
    pub is_retired: bool,
    /// Threads waiting now.
    pub waiters: u64,
    /// Finished waits.
    pub waits: u64,
}

impl LockTable {
    /// Maps the array map `fd` of `count` elements, created with `BPF_F_MMAPABLE` (Linux 5.5).
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn map(fd: impl AsFd, count: usize) -> io::Result<Self> {
        Mapped::writable(fd, count).map(Self)
    }

    /// Locks in use with their slots.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Lock)> {
        self.0.iter().filter(|(_, lock)| lock.key.tgid != 0)
    }

    /// Number of slots.
    #[must_use]
    pub const fn slots(&self) -> usize {
        self.0.count()
    }

    /// The lock in a slot; `None` when it is free.
    #[must_use]
    pub fn get(&self, slot: u32) -> Option<Lock> {
        let mut lock = self.0.get(slot)?;
        lock.key.tgid &= !RETIRED;
        (lock.key.tgid != 0).then_some(lock)
    }

    /// The head of the lock in a slot; `None` when it is free.
    #[must_use]
    pub fn head(&self, slot: u32) -> Option<Head> {
        let lock = self.0.at(slot)?;
        // SAFETY: fields of a mapped element.
        let (key, waiters, waits) = unsafe {
            let key = (&raw const (*lock).key).read_volatile();
            if key.tgid == 0 {
                return None;
            }
            let read = |field: *const u64| field.read_volatile();
            let waits = read(&raw const (*lock).woken)
                .wrapping_add(read(&raw const (*lock).timed_out))
                .wrapping_add(read(&raw const (*lock).interrupted))
                .wrapping_add(read(&raw const (*lock).error));
            (key, read(&raw const (*lock).waiters), waits)
        };
        Some(Head {
            key: LockKey {
                tgid: key.tgid & !RETIRED,
                ..key
            },
            is_retired: key.tgid & RETIRED != 0,
            waiters,
            waits,
        })
    }

    /// Marks a slot as being taken back, or not.
    pub fn set_retired(&self, slot: u32, retired: bool) {
        if let Some(lock) = self.0.at(slot) {
            // SAFETY: a field of a mapped element, which the kernel side writes only while the slot has no owner.
            unsafe {
                let tgid = &raw mut (*lock).key.tgid;
                let now = tgid.read_volatile();
                tgid.write_volatile(if retired {
                    now | RETIRED
                } else {
                    now & !RETIRED
                });
            }
        }
    }

    /// Counts a waiter out that will never be woken, with its wait of `duration_ns`.
    pub fn interrupt(&self, slot: u32, key: &LockKey, duration_ns: u64) {
        let Some(lock) = self.0.at(slot) else { return };
        // SAFETY: fields of a mapped element, to which the kernel side adds atomically, too.
        unsafe {
            if (&raw const (*lock).key).read_volatile() != *key {
                return;
            }
            let add = |word: *mut u64, value: u64| {
                AtomicU64::from_ptr(word).fetch_add(value, Ordering::Relaxed);
            };
            add(&raw mut (*lock).waiters, u64::MAX);
            add(&raw mut (*lock).interrupted, 1);
            add(&raw mut (*lock).total_ns, duration_ns);
            AtomicU64::from_ptr(&raw mut (*lock).max_ns).fetch_max(duration_ns, Ordering::Relaxed);
            let histogram = (&raw mut (*lock).histogram).cast::<u64>();
            add(histogram.add(bucket(duration_ns)), 1);
        }
    }

    /// Clears a slot that nobody uses.
    pub fn clear(&self, slot: u32) {
        if let Some(lock) = self.0.at(slot) {
            // SAFETY: a mapped element that is nobody's.
            unsafe { lock.write_volatile(Lock::EMPTY) };
        }
    }

    /// Takes no more samples of a lock.
    pub fn stop_samples(&self, slot: u32) {
        if let Some(lock) = self.0.at(slot) {
            // SAFETY: a field of a mapped element. The kernel side may write it at the same time; then there will be another
            // sample.
            unsafe { (&raw mut (*lock).next_sample_ns).write_volatile(u64::MAX) };
        }
    }

    /// Sets [`holdup_abi::lock::Lock::flags`], which the kernel side only reads.
    pub fn set_flags(&self, slot: u32, flags: u32) {
        if let Some(lock) = self.0.at(slot) {
            // SAFETY: a field of a mapped element.
            unsafe { (&raw mut (*lock).flags).write_volatile(flags) };
        }
    }

    /// Has the kernel side call again when many wait.
    pub fn answer_call(&self, slot: u32) {
        if let Some(lock) = self.0.at(slot) {
            // SAFETY: a field of a mapped element.
            unsafe { (&raw mut (*lock).called).write_volatile(0) };
        }
    }
}
