//! Which function a call instruction calls, and whether another function calls the same one: a thread may hold what its
//! functions take.

use crate::{
    model::RawFrame,
    proc::memory::{Memory, Process},
    symbol::{Space, Symbols},
};

/// Code of a function that is looked at before the place where it is.
pub(super) const MAX_BEFORE: u64 = 32 << 10;
/// And behind it: what is unlikely to be called is put at a function's end.
const MAX_AFTER: u64 = 4 << 10;
/// Frames of a stack whose functions are looked at.
const MAX_FRAMES: usize = 16;

/// What a call instruction calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The code at this address.
    Code(u64),
    /// The code that the pointer at this address leads to.
    Pointer(u64),
}

/// What the call calls that is to return to the frame.
pub fn target(space: Space, frame: &RawFrame) -> Option<Target> {
    let returns_to = frame.address.checked_add(1)?;
    let start = returns_to.checked_sub(LONGEST as u64)?;
    let mut code = [0; LONGEST];
    Process { pid: space.pid }
        .read(start, &mut code)
        .then_some(())?;
    (0..LONGEST).find_map(|skip| {
        let (target, length) = decode(start.checked_add(skip as u64)?, code.get(skip..)?)?;
        (skip + length == LONGEST).then_some(target)
    })
}

/// The name of a function on this stack that has a call of one of these targets.
pub fn caller(
    space: Space,
    stack: &[RawFrame],
    targets: &[Target],
    symbols: &mut Symbols,
) -> Option<String> {
    if targets.is_empty() {
        return None;
    }
    let certain = stack.iter().filter(|frame| !frame.guessed);
    certain
        .take(MAX_FRAMES)
        .find_map(|frame| calls(space, frame.address, targets, symbols))
}

fn calls(space: Space, place: u64, targets: &[Target], symbols: &mut Symbols) -> Option<String> {
    let (name, offset) = function(space, place, symbols)?;
    let start = place.checked_sub(offset.min(MAX_BEFORE))?;
    let mut code = vec![0; (place - start + MAX_AFTER) as usize];
    let length = Process { pid: space.pid }.read_up_to(start, &mut code);
    code.truncate(length);
    for (index, address) in (start..).take(code.len()).enumerate() {
        let found = decode(address, code.get(index..)?);
        if !found.is_some_and(|(target, _)| targets.contains(&target)) {
            continue;
        }
        // Another function may begin before what was read ends.
        if address < place || function(space, address, symbols)?.0 == name {
            return Some(name);
        }
    }
    None
}

/// The function at an address, and how far into it that is.
pub(super) fn function(space: Space, address: u64, symbols: &mut Symbols) -> Option<(String, u64)> {
    let symbol = symbols.locate(space, address)?.symbol?;
    Some(match symbol.rsplit_once("+0x") {
        Some((name, offset)) => (name.to_owned(), u64::from_str_radix(offset, 16).ok()?),
        None => (symbol, 0),
    })
}

/// Longest call instruction that is known, in bytes.
#[cfg(target_arch = "x86_64")]
pub(super) const LONGEST: usize = 6;
/// Longest call instruction that is known, in bytes.
#[cfg(not(target_arch = "x86_64"))]
pub(super) const LONGEST: usize = 4;

/// A call at the beginning of `code`, which lies at `address`, and its length: `call rel32` and `call *rel32(%rip)`.
#[cfg(target_arch = "x86_64")]
pub(super) fn decode(address: u64, code: &[u8]) -> Option<(Target, usize)> {
    let (of, length): (fn(u64) -> Target, usize) = match code {
        [0xe8, ..] => (Target::Code, 5),
        [0xff, 0x15, ..] => (Target::Pointer, 6),
        _ => return None,
    };
    let relative = code.get(length - 4..length)?.try_into().ok()?;
    let relative = i64::from(i32::from_le_bytes(relative));
    let next = address.checked_add(length as u64)?;
    Some((of(next.checked_add_signed(relative)?), length))
}

/// A call at the beginning of `code`, which lies at `address`, and its length: `bl`.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn decode(address: u64, code: &[u8]) -> Option<(Target, usize)> {
    let word = u32::from_le_bytes(*code.first_chunk()?);
    if address % 4 != 0 || word >> 26 != 0b10_0101 {
        return None;
    }
    // 26 bits with a sign, in words.
    let relative = i64::from((word << 6).cast_signed() >> 4);
    Some((Target::Code(address.checked_add_signed(relative)?), 4))
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn calls_are_decoded() {
        let code = [0xe8, 0xfb, 0xff, 0xff, 0xff, 0x90];
        assert_eq!(decode(0x1000, &code), Some((Target::Code(0x1000), 5)));
        let code = [0xff, 0x15, 0x10, 0, 0, 0];
        assert_eq!(decode(0x1000, &code), Some((Target::Pointer(0x1016), 6)));
        assert_eq!(decode(0x1000, &[0x90, 0xe8]), None);
        for end in 0..5 {
            assert_eq!(decode(0x1000, &[0xe8, 1, 2, 3, 4][..end]), None);
        }
        assert_eq!(decode(u64::MAX, &[0xe8, 1, 2, 3, 4]), None);
    }
}
