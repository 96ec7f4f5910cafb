//! Reading another process's memory without stopping it.

/// A source of a target's memory.
pub trait Memory {
    /// Fills `buffer` from `address`; false when any byte could not be read.
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool;

    /// Reads a little-endian `u32`.
    fn u32(&self, address: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)
            .then(|| u32::from_le_bytes(bytes))
    }

    /// Reads a little-endian `u64`.
    fn u64(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)
            .then(|| u64::from_le_bytes(bytes))
    }

    /// Reads many pieces at once, and notes of each whether it was read.
    fn read_many(&self, pieces: &mut [Piece<'_>]) {
        for piece in pieces {
            piece.is_read = self.read(piece.address, piece.bytes);
        }
    }
}

/// A piece of memory to read.
#[derive(Debug)]
pub struct Piece<'a> {
    /// Where.
    pub address: u64,
    /// What to fill.
    pub bytes: &'a mut [u8],
    /// All of it was read.
    pub is_read: bool,
}

/// Pieces per system call: `UIO_MAXIOV`.
const PIECES_PER_CALL: usize = 1024;

/// Memory of a live process, through `process_vm_readv` (which needs `CAP_SYS_PTRACE` or the same user).
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Process id.
    pub pid: u32,
}

impl Process {
    /// Reads as much as there is from `address` on; returns the bytes read.
    #[must_use]
    pub fn read_up_to(&self, address: u64, buffer: &mut [u8]) -> usize {
        let (Ok(pid), Ok(remote_base)) = (i32::try_from(self.pid), usize::try_from(address)) else {
            return 0;
        };
        let local = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        let remote = libc::iovec {
            iov_base: remote_base as *mut libc::c_void,
            iov_len: buffer.len(),
        };
        // SAFETY: `local` describes `buffer`, which is writable for its whole length; `remote` is only an address in
        // the other process, which the kernel checks.
        let read = unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) };
        // Partial reads end at a page boundary; a failure is -1.
        usize::try_from(read).unwrap_or(0)
    }
}

impl Memory for Process {
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        self.read_up_to(address, buffer) == buffer.len()
    }

    fn read_many(&self, pieces: &mut [Piece<'_>]) {
        let mut rest = pieces;
        while !rest.is_empty() {
            let count = rest.len().min(PIECES_PER_CALL);
            let (now, _) = rest.split_at_mut(count);
            let mut bytes = self.read_pieces(now);
            let mut done = 0;
            for piece in now.iter_mut() {
                piece.is_read = bytes >= piece.bytes.len();
                if !piece.is_read {
                    break;
                }
                bytes -= piece.bytes.len();
                done += 1;
            }
            // The kernel stops at the first piece that cannot be read: the next call begins behind it.
            let behind = (done + 1).min(count);
            rest = rest.get_mut(behind..).unwrap_or_default();
        }
    }
}

impl Process {
    /// One call; returns the bytes read.
    fn read_pieces(&self, pieces: &mut [Piece<'_>]) -> usize {
        let Ok(pid) = i32::try_from(self.pid) else {
            return 0;
        };
        let local: Vec<libc::iovec> = pieces
            .iter_mut()
            .map(|piece| libc::iovec {
                iov_base: piece.bytes.as_mut_ptr().cast(),
                iov_len: piece.bytes.len(),
            })
            .collect();
        let remote: Vec<libc::iovec> = pieces
            .iter()
            .map(|piece| libc::iovec {
                iov_base: piece.address as *mut libc::c_void,
                iov_len: piece.bytes.len(),
            })
            .collect();
        let count = pieces.len() as libc::c_ulong;
        // SAFETY: `local` describes the pieces' buffers, which are writable for their whole length and do not overlap;
        // `remote` holds only addresses in the other process, which the kernel checks.
        let read = unsafe {
            libc::process_vm_readv(pid, local.as_ptr(), count, remote.as_ptr(), count, 0)
        };
        usize::try_from(read).unwrap_or(0)
    }
}

/// Bytes copied from one place, e.g. a sampled stack.
#[derive(Clone, Copy, Debug)]
pub struct Copied<'a> {
    /// Address of the first byte.
    pub base: u64,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl Memory for Copied<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        let mut copy = || {
            let start = usize::try_from(address.checked_sub(self.base)?).ok()?;
            let end = start.checked_add(buffer.len())?;
            buffer.copy_from_slice(self.bytes.get(start..end)?);
            Some(())
        };
        copy().is_some()
    }
}

/// Memory of a process of which a part was copied beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Layered<'a> {
    /// Asked first.
    pub near: Copied<'a>,
    /// Asked for what `near` does not hold.
    pub far: Process,
}

impl Memory for Layered<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        self.near.read(address, buffer) || self.far.read(address, buffer)
    }
}
