//! Arrays of the kernel side, mapped into memory: reading 100,000 elements takes no system call.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
    ptr::NonNull,
};

use aya::Pod;

/// Read-only view of an array map.
#[derive(Debug)]
pub struct Mapped<T> {
    base: NonNull<T>,
    count: usize,
}

// SAFETY: the mapping is read-only, and every read is volatile.
unsafe impl<T: Pod + Send> Send for Mapped<T> {}

impl<T: Pod> Mapped<T> {
    /// Maps the array map `fd` of `count` elements of `T`, created with `BPF_F_MMAPABLE` (Linux 5.5). The size of `T` is a
    /// multiple of 8, as that of the map's elements is.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new(fd: impl AsFd, count: usize) -> io::Result<Self> {
        const {
            assert!(
                size_of::<T>().is_multiple_of(8),
                "elements are padded to 8 bytes"
            )
        };
        // SAFETY: a new mapping of a file; no memory of ours is replaced.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                count * size_of::<T>(),
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

    /// All elements with their indices. The kernel goes on writing: each word is read once, an element's words may be of
    /// slightly different moments.
    pub fn iter(&self) -> impl Iterator<Item = (u32, T)> {
        (0..self.count).filter_map(|index| {
            // SAFETY: `index` is below the mapped count; a `Pod` is valid for any bytes.
            let element = unsafe { self.base.as_ptr().add(index).read_volatile() };
            Some((u32::try_from(index).ok()?, element))
        })
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `new`, and no reference into it is ever handed out.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.count * size_of::<T>()) };
    }
}
