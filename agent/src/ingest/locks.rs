//! The lock table, mapped into memory: reading 100,000 locks takes no system call.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
    ptr::NonNull,
};

use holdup_abi::lock::Lock;

/// Read-only view of the kernel's array of locks.
#[derive(Debug)]
pub struct LockTable {
    base: NonNull<Lock>,
    count: usize,
}

// SAFETY: the mapping is read-only, and every read is volatile.
unsafe impl Send for LockTable {}

impl LockTable {
    /// Maps the array map `fd` of `count` elements, created with `BPF_F_MMAPABLE` (Linux 5.5).
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn map(fd: impl AsFd, count: usize) -> io::Result<Self> {
        // SAFETY: a new mapping of a file; no memory of ours is replaced.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                count * size_of::<Lock>(),
                libc::PROT_READ,
                libc::MAP_SHARED,
                fd.as_fd().as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mmap gave null"))?;
        Ok(Self { base, count })
    }

    /// Locks in use with their slots. The kernel goes on writing: each word is read once, a lock's words may be of
    /// slightly different moments.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Lock)> {
        (0..self.count).filter_map(|index| {
            // SAFETY: `index` is below the mapped count; `Lock` is valid for any bytes.
            let lock = unsafe { self.base.as_ptr().add(index).read_volatile() };
            (lock.key.tgid != 0).then(|| Some((u32::try_from(index).ok()?, lock)))?
        })
    }
}

impl Drop for LockTable {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `map`, and no reference into it is ever handed out.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.count * size_of::<Lock>()) };
    }
}
