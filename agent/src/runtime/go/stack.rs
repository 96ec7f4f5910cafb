//! Stacks of goroutines that rest, by the table of stack depths: exact, as the Go runtime itself unwinds.

use std::collections::HashMap;

use super::{
    goroutine::Record,
    pclntab::{Function, Pclntab},
};
use crate::{proc::memory::Memory, symbol::module::image::u64_at};

/// Most frames of a stack.
const MAX_FRAMES: usize = 256;
/// Bytes of a stack that are read when its top was not enough.
const MAX_BYTES: u64 = 256 << 10;
/// Functions that every stack ends in.
const OUTERMOST: [&str; 4] = [
    "runtime.goexit",
    "runtime.mstart",
    "runtime.rt0_go",
    "runtime.goexit.abi0",
];

/// Return addresses that are remembered before all are forgotten.
const MAX_PLACES: usize = 1 << 16;

/// What is known of a return address on stacks.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Where to look up the call.
    at: u64,
    depth: u64,
    is_outermost: bool,
}

/// Unwinds, and remembers what it has learned of addresses.
#[derive(Debug, Default)]
pub struct Unwinder {
    places: HashMap<u64, Option<Place>>,
}

/// Where to look up the call that returns to `pc`.
fn call(function: Function, pc: u64) -> u64 {
    if pc > function.entry { pc - 1 } else { pc }
}

fn look_up(table: &Pclntab, pc: u64) -> Option<Place> {
    // A call that never returns is the last instruction of its function: what it returns to is the next one.
    let function = table.find(pc.checked_sub(1)?).or_else(|| table.find(pc))?;
    let at = call(function, pc);
    Some(Place {
        at,
        depth: table.stack_depth(function, at)?,
        is_outermost: OUTERMOST.iter().any(|name| table.is_named(function, name)),
    })
}

impl Unwinder {
    fn place(&mut self, table: &Pclntab, pc: u64) -> Option<Place> {
        if let Some(place) = self.places.get(&pc) {
            return *place;
        }
        if self.places.len() >= MAX_PLACES {
            self.places.clear();
        }
        let place = look_up(table, pc);
        self.places.insert(pc, place);
        place
    }

    /// Unwinds the stack of a goroutine that rests: addresses to look symbols up at, innermost first, without the function
    /// that every goroutine ends in. `top` is a copy of the stack's innermost part; the rest is read when needed.
    pub fn walk(
        &mut self,
        table: &Pclntab,
        memory: &dyn Memory,
        record: &Record,
        top: &[u8],
    ) -> Vec<u64> {
        let mut more: Option<Vec<u8>> = None;
        self.steps(table, (record.sp, record.pc), record.stack_hi, |offset| {
            u64_at(top, offset).or_else(|| {
                let more = more.get_or_insert_with(|| whole(memory, record));
                u64_at(more, offset)
            })
        })
    }

    /// Unwinds a copy of the stack of a goroutine that was stopped at the instruction `pc`, which need not be behind a call.
    pub fn walk_copy(&mut self, table: &Pclntab, sp: u64, pc: u64, stack: &[u8]) -> Vec<u64> {
        let mut addresses = vec![pc];
        let back = || {
            let depth = table.stack_depth(table.find(pc)?, pc)?;
            let word = u64_at(stack, usize::try_from(depth).ok()?)?;
            Some((depth.checked_add(8)?, word))
        };
        let Some((popped, next)) = back() else {
            return addresses;
        };
        let rest = usize::try_from(popped)
            .ok()
            .and_then(|popped| stack.get(popped..))
            .unwrap_or_default();
        let start = sp.wrapping_add(popped);
        let end = start.saturating_add(rest.len() as u64);
        addresses.extend(self.steps(table, (start, next), end, |offset| u64_at(rest, offset)));
        addresses
    }

    /// Goes from frame to frame. `word` is what lies at a distance from where the stack begins.
    fn steps(
        &mut self,
        table: &Pclntab,
        (start, pc): (u64, u64),
        stack_hi: u64,
        mut word: impl FnMut(usize) -> Option<u64>,
    ) -> Vec<u64> {
        let mut addresses = Vec::new();
        let (mut sp, mut pc) = (start, pc);
        while addresses.len() < MAX_FRAMES {
            let Some(place) = self.place(table, pc) else {
                break;
            };
            if place.is_outermost {
                break;
            }
            addresses.push(place.at);
            let Some(slot) = sp.checked_add(place.depth).filter(|slot| *slot < stack_hi) else {
                break;
            };
            let Ok(offset) = usize::try_from(slot - start) else {
                break;
            };
            let (Some(next), Some(above)) = (word(offset), slot.checked_add(8)) else {
                break;
            };
            (sp, pc) = (above, next);
        }
        addresses
    }
}

/// All of a stack in use; empty when it cannot be read.
pub fn whole(memory: &dyn Memory, record: &Record) -> Vec<u8> {
    let used = record.stack_hi.saturating_sub(record.sp).min(MAX_BYTES);
    let mut bytes = vec![0; usize::try_from(used).unwrap_or(0)];
    if !memory.read(record.sp, &mut bytes) {
        bytes.clear();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        proc::memory::Copied,
        runtime::go::{
            layout::of_minor,
            pclntab::tests::{parsed, table},
        },
    };

    const STACK: u64 = 0x10_0000;
    const SP: u64 = 0x1000;

    /// A goroutine with a stack of 256 bytes that rests at `pc`, 64 bytes above its lowest address.
    fn record(pc: u64) -> Record {
        let layout = of_minor(22).unwrap();
        let bytes = vec![0; usize::try_from(layout.g.size).unwrap()];
        Record {
            pc,
            sp: STACK + 64,
            stack_lo: STACK,
            stack_hi: STACK + 256,
            ..Record::decode(0x1000, &bytes, layout).unwrap()
        }
    }

    fn stack(words: &[(usize, u64)]) -> Vec<u8> {
        let mut bytes = vec![0; 256];
        for &(at, word) in words {
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn walk(record: &Record, bytes: &[u8], top: usize) -> Vec<u64> {
        let memory = Copied { base: STACK, bytes };
        let table = parsed(table()).unwrap();
        let top = bytes.get(64..64 + top).unwrap_or_default();
        Unwinder::default().walk(&table, &memory, record, top)
    }

    #[test]
    fn from_frame_to_frame() {
        // 24 bytes at 0x4005, whose caller has just begun: nothing lies between its stack pointer and its return address.
        let bytes = stack(&[(64 + 24, 0x4002), (64 + 32, 0x4008), (64 + 32 + 32, 0x9999)]);
        let rests = record(0x4005);
        let walked = [0x4004, 0x4001, 0x4007];
        // The same whether the rest of the stack has to be read or not.
        for top in [192, 40, 8, 0] {
            assert_eq!(walk(&rests, &bytes, top), walked, "{top}");
        }
        assert_eq!(walk(&record(0x9999), &bytes, 192), [0_u64; 0]);
        let table = parsed(table()).unwrap();
        // One that was stopped in the middle of things.
        let copy = Unwinder::default().walk_copy(&table, STACK + 64, 0x4005, &bytes[64..]);
        assert_eq!(copy, [0x4005, 0x4001, 0x4007]);
    }

    #[test]
    fn a_stack_that_leads_back_to_itself_ends() {
        let bytes: Vec<u8> = [0x4001_u64; 32]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        // One for each word of the stack, and the one that it rests in.
        assert_eq!(walk(&record(0x4001), &bytes, 192).len(), 25);
        let record = Record {
            stack_hi: u64::MAX,
            ..record(0x4001)
        };
        assert!(walk(&record, &bytes, 192).len() <= MAX_FRAMES);
    }

    fn walked(pc: u64, words: &[u64]) -> Vec<u64> {
        let table = parsed(table()).unwrap();
        let stack: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Unwinder::default().walk_copy(&table, SP, pc, &stack)
    }

    /// The function has taken nothing from the stack before its fourth byte, and 24 bytes from there on.
    #[test]
    fn from_an_instruction_and_not_from_a_call() {
        assert_eq!(walked(0x4002, &[0x4009, 1, 2, 3, 0]), [0x4002, 0x4008]);
        assert_eq!(walked(0x4003, &[1, 2, 3, 0x4009, 0]), [0x4003, 0x4008]);
        // The return address behind a call that is the third byte of all.
        assert_eq!(
            walked(0x4002, &[0x4003, 0x4009, 1, 2, 3, 0]),
            [0x4002, 0x4002, 0x4008]
        );
    }

    #[test]
    fn to_where_it_makes_no_sense() {
        assert_eq!(walked(0x4002, &[]), [0x4002]);
        assert_eq!(walked(0x4002, &[0x9999]), [0x4002]);
        assert_eq!(walked(0x9999, &[0x4009]), [0x9999]);
        assert_eq!(walked(0x4003, &[1, 2, 3]), [0x4003]);
    }

    proptest! {
        #[test]
        fn any_stack(
            words in proptest::collection::vec(
                prop_oneof![0x3ff0..0x4030_u64, STACK..STACK + 256, any::<u64>()], 32),
            pc in 0x3ff0..0x4030_u64,
            sp in prop_oneof![STACK..STACK + 256, any::<u64>()],
            stack_hi in prop_oneof![STACK..STACK + 512, any::<u64>()],
            top in 0..192_usize,
        ) {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let record = Record { sp, stack_hi, ..record(pc) };
            let addresses = walk(&record, &bytes, top);
            prop_assert!(addresses.len() <= MAX_FRAMES);
            // Addresses are those of functions.
            prop_assert!(addresses.iter().all(|at| (0x4000..0x4020).contains(at)));
            let table = parsed(table()).unwrap();
            let copy = Unwinder::default().walk_copy(&table, sp, pc, &bytes);
            prop_assert!(copy.len() <= MAX_FRAMES + 1);
        }

        #[test]
        fn any_table(
            damage in proptest::collection::vec((72..240_usize, any::<u8>()), 0..48),
            pc in 0x3ff0..0x4030_u64,
            words in proptest::collection::vec(0x3ff0..0x4030_u64, 32),
        ) {
            let mut damaged = table();
            for (at, byte) in damage {
                if let Some(slot) = damaged.get_mut(at) {
                    *slot = byte;
                }
            }
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            if let Some(table) = parsed(damaged) {
                let memory = Copied { base: STACK, bytes: &bytes };
                let walked = Unwinder::default().walk(&table, &memory, &record(pc), &[]);
                prop_assert!(walked.len() <= MAX_FRAMES);
            }
        }

        #[test]
        fn any_copy(pc in 0x3ff0..0x4030_u64, words in proptest::collection::vec(0x3ff0..0x4030_u64, 0..600)) {
            prop_assert!(walked(pc, &words).len() <= MAX_FRAMES + 1);
        }
    }
}
