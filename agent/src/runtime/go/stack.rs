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
            let Some(next) = word(offset) else { break };
            (sp, pc) = (slot + 8, next);
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
    use crate::runtime::go::pclntab::tests::{parsed, table};

    const SP: u64 = 0x1000;

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
        fn any_stack(pc in 0x3ff0..0x4030_u64, words in proptest::collection::vec(0x3ff0..0x4030_u64, 0..600)) {
            prop_assert!(walked(pc, &words).len() <= MAX_FRAMES + 1);
        }
    }
}
