//! Reading goroutines' records.

use super::{layout::Layout, status::Status};
use crate::{
    proc::memory::{Memory, Piece},
    symbol::module::image::{u32_at, u64_at},
};

/// Largest record that is believed.
const MAX_BYTES: u64 = 4096;
/// Largest stack: Go's own limit.
const MAX_STACK: u64 = 1 << 30;

/// A goroutine's record (`runtime.g`) as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Address of the record.
    pub address: u64,
    /// Its number.
    pub goid: u64,
    /// What it does.
    pub status: Status,
    /// Number of what it waits for.
    pub reason: u8,
    /// When the garbage collector first saw it waiting, on the monotonic clock in nanoseconds; 0 when it has not.
    pub wait_since_ns: u64,
    /// Lowest address of its stack.
    pub stack_lo: u64,
    /// First address behind its stack.
    pub stack_hi: u64,
    /// Stack pointer at which it rests.
    pub sp: u64,
    /// Where it goes on.
    pub pc: u64,
    /// Where it was made.
    pub gopc: u64,
    /// What it was made to run.
    pub startpc: u64,
    /// First of the channels that it waits for.
    pub waiting: u64,
    /// The thread that runs it (`runtime.m`).
    pub m: u64,
    /// How often it has stopped running, by its lowest byte: while that is the same, so is its wait.
    pub stops: u8,
    /// Since when it waits for a mutex, on the monotonic clock in nanoseconds; Go notes it of every eighth such wait only, from
    /// 1.20 on. 0 for others.
    pub mutex_since_ns: u64,
}

impl Record {
    /// Decodes a record; `None` when it makes no sense, as a torn one may not.
    #[must_use]
    pub fn decode(address: u64, bytes: &[u8], layout: &Layout) -> Option<Self> {
        let row = &layout.g;
        let at = |field: u64| usize::try_from(field).ok();
        let word = |field: u64| u64_at(bytes, at(field)?);
        let status = Status::of(u32_at(bytes, at(row.atomicstatus)?)?)?;
        // A goroutine in a system call left its registers there.
        let (sp, pc) = if status == Status::Syscall {
            (row.syscallsp, row.syscallpc)
        } else {
            (row.sched_sp, row.sched_pc)
        };
        Some(Self {
            address,
            goid: word(row.goid)?,
            status,
            reason: *bytes.get(at(row.waitreason)?)?,
            wait_since_ns: word(row.waitsince)?,
            stack_lo: word(row.stack_lo)?,
            stack_hi: word(row.stack_hi)?,
            sp: word(sp)?,
            pc: word(pc)?,
            gopc: word(row.gopc)?,
            startpc: word(row.startpc)?,
            waiting: word(row.waiting)?,
            m: word(row.m)?,
            stops: *bytes.get(at(row.tracking_seq)?)?,
            mutex_since_ns: word(row.tracking_stamp)?,
        })
    }

    /// Whether the stack pointer lies in a stack of possible size.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.stack_lo < self.stack_hi
            && self.stack_hi - self.stack_lo <= MAX_STACK
            && self.stack_lo <= self.sp
            && self.sp < self.stack_hi
            && self.sp.is_multiple_of(8)
    }

    /// Whether it rests where it did: then its stack has not changed either.
    #[must_use]
    pub fn rests_as(&self, other: &Self) -> bool {
        (self.goid, self.status, self.sp, self.pc, self.stack_hi)
            == (other.goid, other.status, other.sp, other.pc, other.stack_hi)
    }
}

/// Reads and decodes records; `None` for each that could not be read or makes no sense.
#[must_use]
pub fn read(memory: &dyn Memory, addresses: &[u64], layout: &Layout) -> Vec<Option<Record>> {
    let Ok(size) = usize::try_from(layout.g.size.clamp(1, MAX_BYTES)) else {
        return vec![None; addresses.len()];
    };
    let mut buffer = vec![0; size * addresses.len()];
    let mut pieces: Vec<Piece<'_>> = buffer
        .chunks_mut(size)
        .zip(addresses)
        .map(|(bytes, &address)| Piece {
            address,
            bytes,
            is_read: false,
        })
        .collect();
    memory.read_many(&mut pieces);
    pieces
        .iter()
        .map(|piece| {
            piece
                .is_read
                .then(|| Record::decode(piece.address, piece.bytes, layout))?
        })
        .collect()
}
