//! aarch64: branches and `adr`, `adrp` are simulated, all others stepped.
//!
//! Source: `arm_probe_decode_insn` in `arch/arm64/kernel/probes/decode-insn.c`. `nop` is simulated since Linux 6.13 only;
//! it is not taken for that here. Of the others, an instruction counts as writing every register that it might.

use std::collections::BTreeSet;

use super::{Kind, MAX_CODE, Needs, Placement};

/// `x30` and the stack pointer, which has its number in most places.
const STACK_POINTER: u32 = 31;
/// Go's register for the current goroutine.
const GOROUTINE: u32 = 28;

/// See [`super::place`].
#[must_use]
pub fn place(code: &[u8], function_offset: u64, needs: Needs) -> Placement {
    let code = code.get(..MAX_CODE).unwrap_or(code);
    let mut limit_loaded = false;
    let instructions = words(code).map(|(at, word)| {
        limit_loaded |= loads_stack_limit(word);
        let kind = match kind(word) {
            // The condition `ls`: the stack check of a Go function, if its limit was loaded before.
            Kind::Emulated if limit_loaded && word & 0xff00_001f == 0x5400_0009 => {
                Kind::StackCheck {
                    returns: branch_target(at, word)
                        .is_some_and(|target| starts_again(code, target)),
                }
            }
            kind => kind,
        };
        (at, kind)
    });
    let targets: BTreeSet<usize> = words(code)
        .filter_map(|(at, word)| branch_target(at, word))
        .collect();
    super::search(instructions, &targets, function_offset, needs)
}

fn words(code: &[u8]) -> impl Iterator<Item = (usize, u32)> {
    let words = code.as_chunks().0.iter();
    words
        .enumerate()
        .map(|(index, word)| (index * 4, u32::from_le_bytes(*word)))
}

fn kind(word: u32) -> Kind {
    // b, bl; b.cond; cbz, cbnz; tbz, tbnz; adr, adrp.
    const EMULATED: [(u32, u32); 5] = [
        (0x7c00_0000, 0x1400_0000),
        (0xff00_0010, 0x5400_0000),
        (0x7e00_0000, 0x3400_0000),
        (0x7e00_0000, 0x3600_0000),
        (0x1f00_0000, 0x1000_0000),
    ];
    if EMULATED.iter().any(|&(mask, value)| word & mask == value) {
        return Kind::Emulated;
    }
    let field = |shift: u32| word >> shift & 31;
    let bit = |number: u32| 1 << number;
    let plain = |writes: u32, stack_bytes| Kind::Plain {
        writes,
        stack_bytes,
    };
    match word >> 25 & 15 {
        // Branches to registers, exceptions and system instructions: of these only hints and `mrs` go on.
        0b1010 | 0b1011 => match word {
            _ if word & 0xffff_f01f == 0xd503_201f => plain(0, Some(0)),
            _ if word & 0xfff0_0000 == 0xd530_0000 => plain(bit(field(0)), Some(0)),
            _ => Kind::End,
        },
        // Immediates: `sub sp, sp, #n`, `add sp, sp, #n`.
        0b1000 | 0b1001 => {
            let on_stack = field(0) == STACK_POINTER && field(5) == STACK_POINTER;
            let amount = i64::from(word >> 10 & 0xfff) << ((word >> 22 & 1) * 12);
            match word & 0xff80_0000 {
                0xd100_0000 if on_stack => plain(0, Some(amount)),
                0x9100_0000 if on_stack => plain(0, Some(-amount)),
                // The flags' forms write no stack pointer: 31 is the zero register.
                0xd100_0000 | 0x9100_0000 if field(0) == STACK_POINTER => plain(0, None),
                _ => plain(bit(field(0)), Some(0)),
            }
        }
        // Registers and floating point.
        0b0101 | 0b1101 | 0b0111 | 0b1111 => plain(bit(field(0)), Some(0)),
        // Loads and stores.
        0b0100 | 0b0110 | 0b1100 | 0b1110 => load_or_store(word),
        _ => Kind::End,
    }
}

fn load_or_store(word: u32) -> Kind {
    let field = |shift: u32| word >> shift & 31;
    let (mut writes, mut stack_bytes) = (0, Some(0));
    let base = field(5);
    let scaled = |imm: u32, bits: u32, shift: u32| {
        let signed = (imm << (32 - bits)).cast_signed() >> (32 - bits);
        i64::from(signed) << shift
    };
    let (is_load, write_back) = match word {
        // Literals, exclusives and what shares their place cannot be told from here.
        _ if word & 0x3b00_0000 == 0x1800_0000 || word & 0x3f00_0000 == 0x0800_0000 => {
            return Kind::End;
        }
        // Pairs.
        _ if word & 0x3a00_0000 == 0x2800_0000 => {
            let is_vector = word >> 26 & 1 == 1;
            let shift = if is_vector {
                2 + (word >> 30)
            } else {
                2 + (word >> 31)
            };
            let mode = word >> 23 & 3;
            let offset = scaled(word >> 15 & 0x7f, 7, shift);
            (
                word >> 22 & 1 == 1,
                (mode == 1 || mode == 3).then_some(offset),
            )
        }
        // Unsigned offset.
        _ if word & 0x3b00_0000 == 0x3900_0000 => (word >> 22 & 3 != 0, None),
        // Unscaled, pre- and post-indexed.
        _ if word & 0x3b20_0000 == 0x3800_0000 => {
            let write_back = word >> 10 & 1 == 1;
            (
                word >> 22 & 3 != 0,
                write_back.then(|| scaled(word >> 12 & 0x1ff, 9, 0)),
            )
        }
        // Register offset, atomics: taken for loads.
        _ if word & 0x3b20_0000 == 0x3820_0000 => (true, None),
        _ => return Kind::End,
    };
    if is_load {
        writes |= 1 << field(0) | 1 << field(10);
    }
    if let Some(offset) = write_back {
        if base == STACK_POINTER {
            stack_bytes = Some(-offset);
        } else {
            writes |= 1 << base;
        }
    }
    Kind::Plain {
        // What is loaded into 31 goes nowhere.
        writes: writes & !(1 << STACK_POINTER),
        stack_bytes,
    }
}

/// `ldr xN, [x28, #16]`.
fn loads_stack_limit(word: u32) -> bool {
    word & 0xffff_ffe0 == 0xf940_0800 | GOROUTINE << 5
}

/// Offset in the function that a direct branch at offset `at` leads to; nothing before its beginning.
fn branch_target(at: usize, word: u32) -> Option<usize> {
    let signed = |shift: u32, bits: u32| {
        let field = (word >> shift) << (32 - bits);
        (field.cast_signed() >> (32 - bits)) as i64 * 4
    };
    let distance = match word {
        _ if word & 0x7c00_0000 == 0x1400_0000 => signed(0, 26),
        _ if word & 0xff00_0010 == 0x5400_0000 || word & 0x7e00_0000 == 0x3400_0000 => {
            signed(5, 19)
        }
        _ if word & 0x7e00_0000 == 0x3600_0000 => signed(5, 14),
        _ => return None,
    };
    usize::try_from((at as i64).checked_add(distance)?).ok()
}

/// A call, and then a jump to the entry.
fn starts_again(code: &[u8], at: usize) -> bool {
    const MAX_MORE_STACK: usize = 48;
    let mut called = false;
    for (from, word) in words(code).skip(at / 4).take(MAX_MORE_STACK) {
        if word & 0xfc00_0000 == 0x9400_0000 {
            called = true;
        } else if word & 0xfc00_0000 == 0x1400_0000 {
            return called && branch_target(from, word) == Some(0);
        } else if matches!(kind(word), Kind::End | Kind::Emulated) {
            return false;
        }
    }
    false
}
