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
    /// The thread that it must run on, e.g. since C called it there; 0 when any will do.
    pub lockedm: u64,
    /// What wakes it from `time.Sleep`, if it ever slept.
    pub timer: u64,
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
            lockedm: word(row.lockedm)?,
            timer: word(row.timer)?,
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

    /// Whether it has not run in between, as far as can be told: see [`Self::stops`].
    #[must_use]
    pub fn is_same_wait(&self, other: &Self) -> bool {
        self.rests_as(other) && self.stops == other.stops
    }
}

/// Bytes that are read at once, and most bytes between two records that are read along with them: records lie beside each
/// other in the heap, and a read of ten of them costs little more than one of one.
const RUN: u64 = 64 << 10;
/// See [`RUN`].
const GAP: u64 = 512;

/// Reads and decodes records; `None` for each that could not be read or makes no sense.
#[must_use]
pub fn read(memory: &dyn Memory, addresses: &[u64], layout: &Layout) -> Vec<Option<Record>> {
    let size = layout.g.size.clamp(1, MAX_BYTES);
    let mut sorted: Vec<(u64, usize)> = addresses.iter().copied().zip(0..).collect();
    sorted.sort_unstable();
    let runs: Vec<&[(u64, usize)]> = runs(&sorted, size).collect();
    let mut buffers: Vec<Vec<u8>> = runs
        .iter()
        .map(|run| vec![0; usize::try_from(length(run, size)).unwrap_or(0)])
        .collect();
    let mut pieces: Vec<Piece<'_>> = runs
        .iter()
        .zip(&mut buffers)
        .map(|(run, bytes)| Piece {
            address: run.first().map_or(0, |(address, _)| *address),
            bytes,
            is_read: false,
        })
        .collect();
    memory.read_many(&mut pieces);
    let mut records = vec![None; addresses.len()];
    for (run, piece) in runs.iter().zip(&pieces) {
        for &(address, place) in *run {
            let start = usize::try_from(address - piece.address).unwrap_or(usize::MAX);
            let decode = |bytes: &[u8]| Record::decode(address, bytes, layout);
            let record = match piece.bytes.get(start..).filter(|_| piece.is_read) {
                Some(bytes) => decode(bytes),
                // What lies between may not be there.
                None if run.len() > 1 => one(memory, address, size).as_deref().and_then(decode),
                None => None,
            };
            if let Some(slot) = records.get_mut(place) {
                *slot = record;
            }
        }
    }
    records
}

/// Records that lie beside each other, of those that are sorted by address.
fn runs(sorted: &[(u64, usize)], size: u64) -> impl Iterator<Item = &[(u64, usize)]> {
    let mut rest = sorted;
    std::iter::from_fn(move || {
        let (first, _) = *rest.first()?;
        let is_near = |pair: &[(u64, usize)]| match pair {
            [(before, _), (after, _)] => {
                let gap = after
                    .checked_sub(*before)
                    .and_then(|step| step.checked_sub(size));
                gap.is_some_and(|gap| gap <= GAP) && after - first <= RUN - MAX_BYTES
            }
            _ => false,
        };
        let more = rest.windows(2).take_while(|pair| is_near(pair)).count();
        let (run, others) = rest.split_at(more + 1);
        rest = others;
        Some(run)
    })
}

/// Bytes from the first record of a run to the end of the last one.
fn length(run: &[(u64, usize)], size: u64) -> u64 {
    match run {
        [(first, _), .., (last, _)] => last - first + size,
        _ => size,
    }
}

fn one(memory: &dyn Memory, address: u64, size: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size).ok()?];
    memory.read(address, &mut bytes).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        proc::memory::Copied,
        runtime::go::layout::{candidates, of_minor},
    };

    const BASE: u64 = 0x10_0000;

    /// A goroutine in Go 1.22 with the status `status`.
    fn bytes(status: u32) -> Vec<u8> {
        let row = of_minor(22).unwrap().g;
        let mut bytes = vec![0; usize::try_from(row.size).unwrap()];
        for (field, word) in [
            (row.stack_lo, 0x1000_u64),
            (row.stack_hi, 0x2000),
            (row.sched_sp, 0x1800),
            (row.sched_pc, 0x40_0000),
            (row.syscallsp, 0x1900),
            (row.syscallpc, 0x40_0010),
            (row.goid, 7),
        ] {
            let at = usize::try_from(field).unwrap();
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        let at = usize::try_from(row.atomicstatus).unwrap();
        bytes[at..at + 4].copy_from_slice(&status.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Record> {
        Record::decode(BASE, bytes, of_minor(22).unwrap())
    }

    #[test]
    fn where_it_rests() {
        let waits = decode(&bytes(4)).unwrap();
        assert_eq!((waits.sp, waits.pc, waits.goid), (0x1800, 0x40_0000, 7));
        // The garbage collector looks at it: it waits all the same.
        assert_eq!(decode(&bytes(0x1004)).unwrap().status, Status::Waiting);
        let calls = decode(&bytes(3)).unwrap();
        assert_eq!((calls.sp, calls.pc), (0x1900, 0x40_0010));
        assert!(waits.is_whole() && calls.is_whole() && !waits.rests_as(&calls));
        assert_eq!(decode(&bytes(77)), None);
        // Cut off.
        assert_eq!(decode(&bytes(4)[..128]), None);
    }

    #[test]
    fn each_by_itself() {
        let layout = of_minor(22).unwrap();
        let mut all = bytes(4);
        let second = BASE + all.len() as u64;
        all.extend(bytes(77));
        let memory = Copied {
            base: BASE,
            bytes: &all,
        };
        let found = read(&memory, &[BASE, second, second + 8, 0], layout);
        let goids: Vec<_> = found.iter().map(|record| record.map(|r| r.goid)).collect();
        assert_eq!(goids, [Some(7), None, None, None]);
    }

    fn sorted(addresses: &[u64]) -> Vec<(u64, usize)> {
        addresses.iter().copied().zip(0..).collect()
    }

    #[test]
    fn neighbours_are_read_together() {
        let lengths = |addresses: &[u64]| -> Vec<usize> {
            let sorted = sorted(addresses);
            runs(&sorted, 400).map(<[_]>::len).collect()
        };
        assert_eq!(lengths(&[]), [0_usize; 0]);
        assert_eq!(lengths(&[1000, 1400, 1848, 2760]), [4]);
        // Too far, over each other, and the same.
        assert_eq!(lengths(&[1000, 1913, 2000, 2000]), [1, 1, 1, 1]);
        assert_eq!(lengths(&[0, u64::MAX - 400, u64::MAX]), [1, 2]);
        let many: Vec<u64> = (0..1000).map(|number| number * 448).collect();
        let many = sorted(&many);
        let lengths: Vec<u64> = runs(&many, 400).map(|run| length(run, 400)).collect();
        assert!(lengths.iter().all(|length| *length <= RUN), "{lengths:?}");
        assert!(lengths.len() < 10, "{lengths:?}");
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..512), minor in 18..30_u32) {
            for layout in of_minor(minor).into_iter().chain(candidates(minor)) {
                if let Some(record) = Record::decode(BASE, &bytes, layout)
                    && record.is_whole()
                {
                    prop_assert!(record.stack_lo <= record.sp && record.sp < record.stack_hi);
                    prop_assert!(record.stack_hi - record.stack_lo <= MAX_STACK);
                    prop_assert!(record.rests_as(&record));
                }
            }
        }
    }
}
