//! Ring buffer records and iterator output to values: total and pure, whatever the bytes.

use holdup_abi::{
    census::Task,
    record::{
        CROSSING, Crossing, HOLD_SAMPLE, Regs, STACK_ADDRESSES, STACK_BYTES, STACK_MEMORY,
        WAIT_END, WAIT_SAMPLE, WaitEnd, WaitSample,
    },
};

/// Bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than its kind must be.
    #[error("record of {0} bytes is too short")]
    TooShort(usize),
    /// The first word names no kind.
    #[error("record kind {0} is not known")]
    UnknownKind(u32),
    /// The stack part is of no known kind.
    #[error("stack kind {0} is not known")]
    UnknownStack(u32),
    /// The record claims more stack than it has or may have.
    #[error("record claims {0} bytes of stack")]
    StackTooLong(u32),
}

/// Stack part of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stack<'a> {
    /// Memory from `regs.sp` upwards.
    Memory(&'a [u8]),
    /// Program counter and return addresses, innermost first.
    Addresses(Vec<u64>),
}

/// One record.
#[derive(Clone, Debug)]
pub enum Record<'a> {
    /// A sampled wait began, or has just ended.
    Sample(WaitSample, Stack<'a>),
    /// A sampled hold ended.
    Hold(WaitSample, Stack<'a>),
    /// A sampled wait ended.
    End(WaitEnd),
    /// As many threads wait for a lock as the kernel side was to call for.
    Crossing(Crossing),
}

/// Decodes one ring buffer record.
///
/// # Errors
/// The bytes are not what the kernel side writes.
pub fn record(bytes: &[u8]) -> Result<Record<'_>, DecodeError> {
    let mut words = Words { bytes, at: 0 };
    match words.u32()? {
        kind @ WAIT_SAMPLE => sample(kind, words).map(|(head, stack)| Record::Sample(head, stack)),
        kind @ HOLD_SAMPLE => sample(kind, words).map(|(head, stack)| Record::Hold(head, stack)),
        WAIT_END => Ok(Record::End(WaitEnd {
            kind: WAIT_END,
            tid: words.u32()?,
            since_ns: words.u64()?,
            duration_ns: words.u64()?,
            result: words.u64()?.cast_signed(),
        })),
        CROSSING => Ok(Record::Crossing(Crossing {
            kind: CROSSING,
            slot: words.u32()?,
            waiters: words.u64()?,
            at_ns: words.u64()?,
        })),
        kind => Err(DecodeError::UnknownKind(kind)),
    }
}

fn sample(kind: u32, mut words: Words<'_>) -> Result<(WaitSample, Stack<'_>), DecodeError> {
    let head = WaitSample {
        kind,
        stack_bytes: words.u32()?,
        stack_kind: words.u32()?,
        slot: words.u32()?,
        tgid: words.u32()?,
        tid: words.u32()?,
        generation: words.u32()?,
        op: words.u32()?,
        value: words.u32()?,
        off_cpu: words.u32()?,
        address: words.u64()?,
        since_ns: words.u64()?,
        held_ns: words.u64()?,
        regs: words.regs()?,
        comm: words.take()?,
    };
    let rest = words.bytes.get(words.at..).unwrap_or_default();
    let length = head.stack_bytes as usize;
    if length > STACK_BYTES {
        return Err(DecodeError::StackTooLong(head.stack_bytes));
    }
    // The ring buffer pads records to 8 bytes, so more may follow.
    let stack = rest
        .get(..length)
        .ok_or(DecodeError::StackTooLong(head.stack_bytes))?;
    let stack = match head.stack_kind {
        STACK_MEMORY => Stack::Memory(stack),
        STACK_ADDRESSES => Stack::Addresses(addresses(stack)),
        kind => return Err(DecodeError::UnknownStack(kind)),
    };
    Ok((head, stack))
}

fn addresses(bytes: &[u8]) -> Vec<u64> {
    let words = bytes.as_chunks::<8>().0;
    words
        .iter()
        .map(|word| u64::from_le_bytes(*word))
        .take_while(|&address| address != 0)
        .collect()
}

/// Decodes one record of the task iterator.
///
/// # Errors
/// Fewer bytes than a record has.
pub fn task(bytes: &[u8]) -> Result<Task, DecodeError> {
    let mut words = Words { bytes, at: 0 };
    Ok(Task {
        tid: words.u32()?,
        tgid: words.u32()?,
        generation: words.u32()?,
        state: words.u32()?,
        syscall: words.u64()?.cast_signed(),
        args: [
            words.u64()?,
            words.u64()?,
            words.u64()?,
            words.u64()?,
            words.u64()?,
            words.u64()?,
        ],
        regs: words.regs()?,
        last_ran_ns: words.u64()?,
        since_ns: words.u64()?,
        wait_state: words.u32()?,
        wait_flags: words.u32()?,
        comm: words.take()?,
    })
}

/// A thread's name, cut at the first NUL; control characters and invalid UTF-8 are replaced.
#[must_use]
pub fn comm(bytes: &[u8; 16]) -> String {
    let length = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..length])
        .chars()
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect()
}

struct Words<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Words<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let chunk = self
            .bytes
            .get(self.at..)
            .and_then(|rest| rest.first_chunk::<N>());
        self.at += N;
        chunk
            .copied()
            .ok_or(DecodeError::TooShort(self.bytes.len()))
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.take().map(u64::from_le_bytes)
    }

    fn regs(&mut self) -> Result<Regs, DecodeError> {
        Ok(Regs {
            pc: self.u64()?,
            sp: self.u64()?,
            fp: self.u64()?,
            lr: self.u64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample_bytes(stack_kind: u32, stack_bytes: u32, stack: &[u8]) -> Vec<u8> {
        let head = [
            WAIT_SAMPLE,
            stack_bytes,
            stack_kind,
            7,
            100,
            101,
            5,
            128,
            2,
            0,
        ];
        let mut bytes: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
        for word in [0xabc0_u64, 99, 0, 0x10, 0x20, 0x30, 0] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(*b"worker\x1b\0\0\0\0\0\0\0\0\0");
        bytes.extend(stack);
        bytes
    }

    #[test]
    fn a_sample_comes_back_field_by_field() {
        let bytes = sample_bytes(STACK_MEMORY, 16, &[9; 24]);
        let Ok(Record::Sample(head, stack)) = record(&bytes) else {
            panic!("not a sample")
        };
        assert_eq!(
            (head.slot, head.tgid, head.tid, head.generation),
            (7, 100, 101, 5)
        );
        assert_eq!((head.address, head.since_ns, head.op), (0xabc0, 99, 128));
        assert_eq!(
            head.regs,
            Regs {
                pc: 0x10,
                sp: 0x20,
                fp: 0x30,
                lr: 0
            }
        );
        assert_eq!(
            stack,
            Stack::Memory(&[9; 16]),
            "padding of the ring buffer is left out"
        );
        assert_eq!(comm(&head.comm), "worker\u{fffd}");
    }

    #[test]
    fn a_hold_is_told_from_a_wait() {
        let mut bytes = sample_bytes(STACK_ADDRESSES, 8, &[1; 8]);
        bytes[0] = 3;
        bytes[36] = 1;
        bytes[56] = 77;
        let Ok(Record::Hold(head, _)) = record(&bytes) else {
            panic!("not a hold")
        };
        assert_eq!((head.off_cpu, head.since_ns, head.held_ns), (1, 99, 77));
    }

    #[test]
    fn lies_about_the_stack_are_refused() {
        let kind = |bytes: Vec<u8>| record(&bytes).map(|_| ()).unwrap_err();
        assert_eq!(
            kind(sample_bytes(0, 32, &[0; 24])),
            DecodeError::StackTooLong(32)
        );
        assert_eq!(
            kind(sample_bytes(0, 8200, &[0; 9000])),
            DecodeError::StackTooLong(8200)
        );
        assert_eq!(
            kind(sample_bytes(9, 8, &[0; 8])),
            DecodeError::UnknownStack(9)
        );
        assert_eq!(kind(vec![77, 0, 0, 0]), DecodeError::UnknownKind(77));
    }

    #[test]
    fn every_prefix_and_every_flipped_byte_is_survived() {
        let whole = sample_bytes(STACK_ADDRESSES, 24, &[1; 24]);
        for length in 0..whole.len() {
            assert!(record(&whole[..length]).is_err(), "prefix of {length}");
            assert!(task(&whole[..length.min(143)]).is_err());
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                let _ = record(&bytes);
                let _ = task(&bytes);
            }
        }
    }
}
