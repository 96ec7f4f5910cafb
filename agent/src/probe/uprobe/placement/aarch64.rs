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
    let signed = |shift: u32, bits: u32| {
        let top = 32 - shift - bits;
        i64::from((word << top).cast_signed() >> (32 - bits))
    };
    let (first, second, base) = (1 << field(0), 1 << field(10), field(5));
    let (loaded, write_back) = match word {
        // Literals, exclusives and what shares their place cannot be told from here.
        _ if word & 0x3b00_0000 == 0x1800_0000 || word & 0x3f00_0000 == 0x0800_0000 => {
            return Kind::End;
        }
        // Pairs.
        _ if word & 0x3a00_0000 == 0x2800_0000 => {
            let is_vector = word >> 26 & 1 == 1;
            let shift = 2 + (if is_vector { word >> 30 } else { word >> 31 });
            let is_load = word >> 22 & 1 == 1;
            let indexed = word >> 23 & 1 == 1;
            let loaded = if is_load { first | second } else { 0 };
            (loaded, indexed.then(|| signed(15, 7) << shift))
        }
        // Unsigned offset.
        _ if word & 0x3b00_0000 == 0x3900_0000 => {
            (if word >> 22 & 3 == 0 { 0 } else { first }, None)
        }
        // Unscaled, pre- and post-indexed.
        _ if word & 0x3b20_0000 == 0x3800_0000 => {
            let indexed = word >> 10 & 1 == 1;
            let loaded = if word >> 22 & 3 == 0 { 0 } else { first };
            (loaded, indexed.then(|| signed(12, 9)))
        }
        // Register offset, and atomics, which return what was there.
        _ if word & 0x3b20_0000 == 0x3820_0000 => (first, None),
        _ => return Kind::End,
    };
    // What is loaded into 31 goes nowhere.
    let loaded = loaded & !(1 << STACK_POINTER);
    match write_back {
        Some(offset) if base == STACK_POINTER => Kind::Plain {
            writes: loaded,
            stack_bytes: Some(-offset),
        },
        _ => Kind::Plain {
            writes: loaded | write_back.map_or(0, |_| 1 << base),
            stack_bytes: Some(0),
        },
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENTRY: u64 = 0x1000;

    fn placed(words: &[u32]) -> Placement {
        let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        place(&code, ENTRY, Needs::NONE.register(0))
    }

    const STP_PRE: u32 = 0xa9be_7bfd; // stp x29, x30, [sp, #-32]!
    const MOV_FP: u32 = 0x9100_03fd; // mov x29, sp
    const RET: u32 = 0xd65f_03c0;
    const CBZ: u32 = 0xb400_0060; // cbz x0, +12

    #[test]
    fn first_simulated_instruction() {
        let cases: &[(&[u32], u64, u8)] = &[
            (&[0x1400_0001], 0, 0), // b +4
            (&[STP_PRE, MOV_FP, CBZ, RET], 8, 4),
            (&[0xd503_233f, STP_PRE, 0x9000_0001, RET], 8, 4), // paciasp; ...; adrp x1
            (&[0xd100_83ff, 0xf900_0be0, 0x3700_0020, RET], 8, 4), // sub sp, 32; str x0, [sp, 16]; tbnz w0, 0, +4
            (&[0xb940_0001, 0x7100_003f, 0x5400_0041, RET], 8, 0), // ldr w1, [x0]; cmp w1, 0; b.ne +8
            (&[0xf81f_0ffe, 0x9400_0001], 4, 2),                   // str x30, [sp, -16]!; bl +4
        ];
        for &(words, at, pushed) in cases {
            let placement = placed(words);
            assert_eq!(
                (placement.offset - ENTRY, placement.pushed_words),
                (at, pushed),
                "{words:x?}"
            );
            assert!(placement.emulated && !placement.may_repeat, "{words:x?}");
        }
    }

    #[test]
    fn entry_where_there_is_none() {
        let cases: &[(&[u32], &str)] = &[
            (
                &[STP_PRE, MOV_FP, RET],
                "no emulated instruction at the beginning",
            ),
            // mov x0, x1; cbz
            (
                &[0xaa01_03e0, CBZ],
                "arguments are overwritten before an emulated instruction",
            ),
            // ldp x1, x0, [x2]; cbz
            (
                &[0xa940_0041, CBZ],
                "arguments are overwritten before an emulated instruction",
            ),
            // ldr x1, [x0], 8; cbz
            (
                &[0xf840_8401, CBZ],
                "arguments are overwritten before an emulated instruction",
            ),
            // ldaxr w1, [x0]; cbz
            (
                &[0x885f_fc01, CBZ],
                "no emulated instruction at the beginning",
            ),
            // ldr x1, literal
            (
                &[0x5800_0041, CBZ],
                "no emulated instruction at the beginning",
            ),
            // sub x2, x2, 1; cbnz x2, -4
            (
                &[STP_PRE, 0xd100_0442, 0xb5ff_ffe2, RET],
                "no emulated instruction at the beginning",
            ),
            (&[], "no emulated instruction at the beginning"),
        ];
        for &(words, why) in &cases[..6] {
            assert_eq!(placed(words), Placement::entry(ENTRY, why), "{words:x?}");
        }
        let looping = placed(cases[6].0);
        assert_eq!(
            looping,
            Placement::entry(ENTRY, "a branch leads back to the beginning")
        );
    }

    #[test]
    fn a_go_function() {
        // ldr x16, [x28, 16]; cmp sp, x16; b.ls more; str x30, [sp, -32]!; cbz x0, 0; ret; more: bl; b 0
        let code = [
            0xf940_0b90,
            0xeb30_63ff,
            0x5400_0089,
            0xf81e_0ffe,
            0xb400_0020,
            RET,
            0x9400_0001,
            0x17ff_fff9,
        ];
        let placement = placed(&code);
        assert_eq!(
            (placement.offset - ENTRY, placement.may_repeat),
            (16, false),
            "{placement:?}"
        );
        let placement = placed(&[
            code[0], code[1], code[2], code[3], RET, RET, code[6], code[7],
        ]);
        assert_eq!(
            (placement.offset - ENTRY, placement.may_repeat),
            (8, true),
            "{placement:?}"
        );
    }

    proptest! {
        #[test]
        fn any_code_is_survived(code in proptest::collection::vec(any::<u8>(), 0..200), offset: u64, needs: u32) {
            let placement = place(&code, offset, Needs(needs));
            prop_assert!(placement.offset.wrapping_sub(offset) <= code.len() as u64);
            prop_assert!(placement.emulated || placement.offset == offset);
        }
    }
}
