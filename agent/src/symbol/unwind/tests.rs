//! Unwinding of made-up stacks, and of arbitrary ones.

use proptest::prelude::*;

use super::{
    rule::{Cfa, Saved},
    *,
};
use crate::proc::memory::Copied;

const STACK: u64 = 0x7ffd_0000_0000;
/// Code with rules, code without rules in the same file, generated code: 64 KiB each.
const RULED: u64 = 0x40_0000;
const BARE: u64 = 0x41_0000;
const GENERATED: u64 = 0x42_0000;
const END: u64 = 0x43_0000;

/// Every 16th byte of code is the end of a call; functions of ruled code keep 16 bytes and no frame pointer.
struct Program;

impl Code for Program {
    fn executable(&self, address: u64) -> bool {
        (RULED..END).contains(&address)
    }

    fn in_module(&self, address: u64) -> bool {
        (RULED..GENERATED).contains(&address)
    }

    fn row(&self, address: u64) -> Option<Row> {
        (RULED..BARE).contains(&address).then_some(Row {
            cfa: Cfa::Offset(x86_64::X86_64.stack_pointer, 24),
            return_address: if address < RULED + 16 {
                Saved::Undefined
            } else {
                Saved::AtCfa(-8)
            },
            frame_pointer: Saved::Same,
            signal: false,
        })
    }

    fn before(&self, address: u64, buffer: &mut [u8]) -> bool {
        buffer.fill(0x90);
        if let Some(end) = buffer.last_chunk_mut()
            && address.is_multiple_of(16)
        {
            *end = [0xff, 0xd0];
        }
        true
    }
}

fn unwind(regs: Regs, stack: &[u64]) -> Walk {
    let bytes: Vec<u8> = stack.iter().flat_map(|word| word.to_le_bytes()).collect();
    let copied = Copied {
        base: STACK,
        bytes: &bytes,
    };
    let bounds = Bounds {
        frames: 128,
        scan_words: 64,
        deadline: later(),
    };
    walk(
        &x86_64::X86_64,
        &Program,
        regs,
        &Words::new(&copied),
        bounds,
    )
}

fn later() -> Instant {
    Instant::now() + std::time::Duration::from_secs(60)
}

fn at(pc: u64, fp: u64) -> Regs {
    Regs {
        pc,
        sp: STACK,
        fp,
        lr: 0,
    }
}

/// Return addresses (not lookup addresses) of the callers; negative when guessed.
fn callers(walk: &Walk) -> Vec<i64> {
    let frames = walk.frames.iter().skip(1);
    frames
        .map(|frame| (frame.address as i64 + 1) * if frame.guessed { -1 } else { 1 })
        .collect()
}

#[test]
fn by_rules_to_the_end() {
    let (a, b, first) = (RULED + 0x100, RULED + 0x200, RULED + 16);
    let walk = unwind(at(RULED + 0x50, 0), &[1, 2, a, 3, 4, b, 5, 6, first]);
    assert_eq!(walk.frames[0].address, RULED + 0x50);
    assert_eq!(callers(&walk), [a as i64, b as i64, first as i64]);
    assert!(!walk.truncated);
}

#[test]
fn a_sample_that_ends_too_early_is_truncated() {
    let a = RULED + 0x100;
    let walk = unwind(at(RULED + 0x50, 0), &[1, 2, a, 3]);
    assert_eq!(callers(&walk), [a as i64]);
    assert!(walk.truncated);
}

#[test]
fn bare_code_is_scanned_until_rules_apply() {
    let (bare, a, first) = (BARE + 0x100, RULED + 0x200, RULED + 16);
    // A stale return address with rules that lead nowhere, and one that is not behind a call.
    let stale = RULED + 0x300;
    let stack = [7, stale, 0, 0, 0, bare, RULED + 0x308, a, 1, 2, first];
    let walk = unwind(at(BARE + 4, 0), &stack);
    assert_eq!(callers(&walk), [-(bare as i64), -(a as i64), first as i64]);
    assert!(!walk.truncated);
}

#[test]
fn generated_code_is_unwound_by_frame_pointer() {
    let (a, first) = (GENERATED + 0x100, RULED + 16);
    let stack = [
        BARE + 0x10, // Something stale, that frame pointers step over.
        STACK + 32,
        a,
        7,
        0xdead,
        RULED + 0x100,
        1,
        2,
        first,
    ];
    let walk = unwind(at(GENERATED + 5, STACK + 8), &stack);
    assert_eq!(
        callers(&walk),
        [a as i64, (RULED + 0x100) as i64, first as i64]
    );
    assert!(!walk.truncated);
    // The same without the register: only a search is left, which finds the stale one too.
    let walk = unwind(at(GENERATED + 5, 0), &stack);
    assert_eq!(callers(&walk)[0], -((BARE + 0x10) as i64));
}

#[test]
fn frame_pointer_of_an_outer_caller_is_no_short_cut() {
    // Bare code left the register alone; it belongs to `outer`, whose own return address lies above it.
    let (bare, inner, outer, first) = (BARE + 0x100, RULED + 0x200, RULED + 0x400, RULED + 16);
    let stack = [
        0,
        bare,
        0,
        inner,
        1,
        2,
        outer,
        3,
        STACK + 72,
        BARE + 0x40,
        first,
        0,
    ];
    let walk = unwind(at(BARE + 4, STACK + 64), &stack);
    assert_eq!(
        callers(&walk)[..3],
        [-(bare as i64), -(inner as i64), outer as i64]
    );
}

#[test]
fn frames_are_bounded() {
    // A frame pointer chain that never ends.
    let mut stack = Vec::new();
    for index in 0..1000 {
        stack.extend([STACK + (index + 1) * 16, GENERATED + 0x100]);
    }
    let walk = unwind(at(GENERATED + 5, STACK), &stack);
    assert_eq!(walk.frames.len(), 128);
    assert!(walk.truncated);
}

#[test]
fn time_is_bounded() {
    let bytes: Vec<u8> = (0..64_u64)
        .flat_map(|_| (BARE + 0x100).to_le_bytes())
        .collect();
    let copied = Copied {
        base: STACK,
        bytes: &bytes,
    };
    let bounds = Bounds {
        frames: 128,
        scan_words: 64,
        deadline: Instant::now(),
    };
    let arch = &x86_64::X86_64;
    let words = Words::new(&copied);
    let walk = walk(arch, &Program, at(BARE + 5, 0), &words, bounds);
    assert_eq!(walk.frames.len(), 1);
    assert!(walk.truncated);
}

proptest! {
    #[test]
    fn any_stack_is_survived(
        pc in prop_oneof![any::<u64>(), RULED..END],
        fp in prop_oneof![any::<u64>(), STACK..STACK + 512, Just(0)],
        stack in proptest::collection::vec(
            prop_oneof![any::<u64>(), RULED..END, (RULED / 16..END / 16).prop_map(|at| at * 16), STACK..STACK + 512],
            0..64,
        ),
    ) {
        let walk = unwind(at(pc, fp), &stack);
        prop_assert!((1..=128).contains(&walk.frames.len()));
    }

    #[test]
    fn any_registers_are_survived(pc: u64, sp: u64, fp: u64, lr: u64) {
        let copied = Copied { base: STACK, bytes: &[] };
        let bounds = Bounds { frames: 128, scan_words: 64, deadline: later() };
        for arch in [&x86_64::X86_64, &aarch64::AARCH64] {
            walk(arch, &Program, Regs { pc, sp, fp, lr }, &Words::new(&copied), bounds);
        }
    }

    #[test]
    fn any_expression_ends(code in proptest::collection::vec(any::<u8>(), 0..64), value: u64) {
        let copied = Copied { base: 0, bytes: &[0; 64] };
        let words = Words::new(&copied);
        rule::evaluate(&code, Some(value), &|_| Some(value), &words);
    }
}
