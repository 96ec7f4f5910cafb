//! Arrays of the kernel side, mapped into memory: reading 100,000 elements takes no system call.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
    ptr::NonNull,
};

use aya::Pod;

/// View of an array map. The kernel side writes while it is read; what the agent writes are single words, of elements that
/// nobody else writes.
#[derive(Debug)]
pub struct Mapped<T> {
    base: NonNull<T>,
    count: usize,
}

// SAFETY: every access is volatile.
unsafe impl<T: Pod + Send> Send for Mapped<T> {}

impl<T: Pod> Mapped<T> {
    /// Maps the array map `fd` of `count` elements of `T`, created with `BPF_F_MMAPABLE` (Linux 5.5). The size of `T` is a
    /// multiple of 8, as that of the map's elements is.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new(fd: impl AsFd, count: usize) -> io::Result<Self> {
        Self::with_protection(fd, count, libc::PROT_READ)
    }

    /// The same, to be written too.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn writable(fd: impl AsFd, count: usize) -> io::Result<Self> {
        Self::with_protection(fd, count, libc::PROT_READ | libc::PROT_WRITE)
    }

    fn with_protection(fd: impl AsFd, count: usize, protection: i32) -> io::Result<Self> {
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
                protection,
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

    /// Element `index`, read likewise.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<T> {
        // SAFETY: a mapped element; a `Pod` is valid for any bytes.
        self.at(index)
            .map(|element| unsafe { element.read_volatile() })
    }

    /// Where element `index` lies, to read parts of it, or to write them if the mapping is [`Self::writable`].
    #[must_use]
    pub fn at(&self, index: u32) -> Option<*mut T> {
        let index = usize::try_from(index)
            .ok()
            .filter(|&index| index < self.count)?;
        // SAFETY: `index` is below the mapped count.
        Some(unsafe { self.base.as_ptr().add(index) })
    }

    /// Number of elements.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// All elements with their indices. The kernel goes on writing: each word is read once, an element's words may be of
    /// slightly different moments.
    pub fn iter(&self) -> impl Iterator<Item = (u32, T)> {
        (0..self.count).filter_map(|index| {
            let index = u32::try_from(index).ok()?;
            Some((index, self.get(index)?))
        })
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `new`, and no reference into it is ever handed out.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.count * size_of::<T>()) };
    }
}
