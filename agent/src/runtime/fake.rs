//! A process made of bytes, for tests.

use std::collections::BTreeMap;

use holdup_abi::futex::{CLOCK_REALTIME_FLAG, PRIVATE_FLAG, WAIT, WAIT_BITSET};

use super::{Verdict, Wait, classify};
use crate::{model::Frame, proc::memory::Memory};

pub(super) const PRIVATE_WAIT: u32 = WAIT | PRIVATE_FLAG;
pub(super) const PRIVATE_BITSET: u32 = WAIT_BITSET | PRIVATE_FLAG;
pub(super) const PRIVATE_ABSOLUTE: u32 = PRIVATE_BITSET | CLOCK_REALTIME_FLAG;

/// Threads 1000 to 1009 are alive; the namespace adds 7000 to each.
pub(super) fn thread(tid: u32) -> Option<u32> {
    (1000..1010).contains(&tid).then(|| tid + 7000)
}

/// Bytes by address; all others are unreadable.
#[derive(Clone, Debug, Default)]
pub(super) struct Bytes(pub(super) BTreeMap<u64, u8>);

impl Bytes {
    pub(super) fn words(mut self, address: u64, words: &[u32]) -> Self {
        for (offset, byte) in (0..).zip(words.iter().flat_map(|word| word.to_le_bytes())) {
            self.0.insert(address + offset, byte);
        }
        self
    }

    pub(super) fn pointers(self, address: u64, pointers: &[u64]) -> Self {
        let words: Vec<u32> = pointers
            .iter()
            .flat_map(|pointer| [*pointer as u32, (*pointer >> 32) as u32])
            .collect();
        self.words(address, &words)
    }
}

impl Memory for Bytes {
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        (0..).zip(buffer).all(|(offset, byte)| {
            match address.checked_add(offset).and_then(|at| self.0.get(&at)) {
                Some(value) => {
                    *byte = *value;
                    true
                }
                None => false,
            }
        })
    }
}

/// `module!function`, either of which may be empty.
pub(super) fn frames(names: &[&str]) -> Vec<Frame> {
    names
        .iter()
        .map(|name| {
            let (module, function) = name.split_once('!').unwrap_or(("/app", name));
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Frame {
                function: some(function),
                module: some(module),
                ..Frame::default()
            }
        })
        .collect()
}

/// Classifies a wait of `names` (as [`frames`]) in `memory`.
pub(super) fn wait(memory: &Bytes, address: u64, op: u32, value: u32, names: &[&str]) -> Verdict {
    wait_at(memory, address, op, value, 0, names)
}

/// As [`wait`] with a stack pointer.
pub(super) fn wait_at(
    memory: &Bytes,
    address: u64,
    op: u32,
    value: u32,
    sp: u64,
    names: &[&str],
) -> Verdict {
    classify(&Wait {
        address,
        op,
        value,
        sp,
        frames: &frames(names),
        comm: "worker",
        memory,
        thread: &thread,
        dead: &|tid| op & PRIVATE_FLAG != 0 && thread(tid).is_none(),
    })
}
