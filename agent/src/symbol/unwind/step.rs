//! One step from a frame to its caller, by call frame information or by frame pointer.

use gimli::Register;

use super::{
    arch::Arch,
    rule::{Cfa, Row, Saved, evaluate},
    words::Words,
};

/// Farthest that a frame pointer may point above the stack pointer, in bytes: a larger frame is not plausible.
const MAX_FRAME: u64 = 1 << 20;

/// A frame that is being unwound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Where it executes, or where it goes on after its call.
    pub pc: u64,
    /// `pc` is where it executes: the innermost frame, or one that a signal interrupted.
    pub exact: bool,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer register, when known.
    pub fp: Option<u64>,
    /// Link register, when known.
    pub lr: Option<u64>,
}

impl Cursor {
    /// Address to look rules and symbols up at: inside the call instruction.
    pub fn lookup(&self) -> u64 {
        if self.exact {
            self.pc
        } else {
            self.pc.saturating_sub(1)
        }
    }
}

/// Outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The caller.
    Caller(Cursor),
    /// There is none: this was a thread's first function.
    End,
    /// The return address is zero, which ends a stack too, if the frame is not made up.
    Null,
    /// The rules need the frame pointer, which is not known.
    NeedsFramePointer,
    /// Memory that is needed cannot be read.
    Unreadable,
    /// The frame is plausible, but ends above what was copied of the stack: its callers lie higher still.
    Beyond,
    /// The rules make no sense here.
    Broken,
}

/// Follows call frame information.
pub fn by_rules(arch: &Arch, row: &Row, cursor: &Cursor, words: &Words<'_>) -> Step {
    let register = |number: Register| match number {
        _ if number == arch.stack_pointer => Some(cursor.sp),
        _ if number == arch.frame_pointer => cursor.fp,
        _ if number == arch.return_address && arch.link_register => cursor.lr,
        _ => None,
    };
    if row.return_address == Saved::Undefined {
        return Step::End;
    }
    let cfa = match &row.cfa {
        Cfa::Offset(number, _) if *number == arch.frame_pointer && cursor.fp.is_none() => {
            return Step::NeedsFramePointer;
        }
        Cfa::Offset(number, offset) => {
            register(*number).and_then(|value| value.checked_add_signed(*offset))
        }
        Cfa::Expression(code) => evaluate(code, None, &register, words),
    };
    let Some(cfa) = cfa else {
        return Step::Broken;
    };
    let saved = |rule: &Saved, same: Option<u64>| match rule {
        Saved::Undefined => Err(Step::Broken),
        Saved::Same => same.ok_or(Step::Broken),
        Saved::AtCfa(offset) => cfa
            .checked_add_signed(*offset)
            .and_then(|address| words.read(address))
            .ok_or(Step::Unreadable),
        Saved::Cfa(offset) => cfa.checked_add_signed(*offset).ok_or(Step::Broken),
        Saved::Register(number) => register(*number).ok_or(Step::Broken),
        Saved::At(code) => evaluate(code, Some(cfa), &register, words)
            .and_then(|address| words.read(address))
            .ok_or(Step::Unreadable),
        Saved::Value(code) => evaluate(code, Some(cfa), &register, words).ok_or(Step::Broken),
    };
    let link = cursor.lr.filter(|_| arch.link_register);
    let pc = match saved(&row.return_address, link) {
        Ok(value) => value & arch.address_mask,
        Err(Step::Unreadable) if is_beyond(cfa, cursor, words) => return Step::Beyond,
        Err(step) => return step,
    };
    if pc == 0 {
        return Step::Null;
    }
    // A leaf that stores nothing has its caller's stack pointer; a signal handler may run on another stack.
    let leaf = arch.link_register && row.return_address == Saved::Same;
    if cfa < cursor.sp && !row.signal || cfa == cursor.sp && !leaf {
        return Step::Broken;
    }
    Step::Caller(Cursor {
        pc,
        exact: row.signal,
        sp: cfa,
        fp: saved(&row.frame_pointer, cursor.fp).ok(),
        lr: None,
    })
}

/// Whether a frame that ends at `cfa` could be real, were its upper end not missing.
fn is_beyond(cfa: u64, cursor: &Cursor, words: &Words<'_>) -> bool {
    let size = cfa.checked_sub(cursor.sp);
    size.is_some_and(|size| size <= MAX_FRAME) && words.read(cursor.sp).is_some()
}

/// Follows the frame pointer: it points at the caller's one, and the return address lies above.
pub fn by_frame_pointer(arch: &Arch, cursor: &Cursor, words: &Words<'_>) -> Option<Cursor> {
    let fp = cursor.fp?;
    let plausible = fp.is_multiple_of(8) && fp >= cursor.sp && fp - cursor.sp <= MAX_FRAME;
    plausible.then_some(())?;
    let caller = words.read(fp)?;
    let pc = words.read(fp.checked_add(8)?)? & arch.address_mask;
    Some(Cursor {
        pc,
        exact: false,
        sp: fp.checked_add(16)?,
        fp: Some(caller),
        lr: None,
    })
}

#[cfg(test)]
mod tests {
    use gimli::{AArch64, X86_64 as X86};

    use super::{super::aarch64::AARCH64, super::x86_64::X86_64, *};
    use crate::proc::memory::Copied;

    const BASE: u64 = 0x7fff_0000;

    fn stack(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn row(cfa: Cfa, return_address: Saved, frame_pointer: Saved) -> Row {
        Row {
            cfa,
            return_address,
            frame_pointer,
            signal: false,
        }
    }

    fn at(sp: u64, fp: Option<u64>, lr: Option<u64>) -> Cursor {
        Cursor {
            pc: 0x1000,
            exact: true,
            sp,
            fp,
            lr,
        }
    }

    #[test]
    fn x86_frames() {
        let bytes = stack(&[7, 8, 0xbeef0, 0x2000]);
        let copied = Copied {
            base: BASE,
            bytes: &bytes,
        };
        let words = Words::new(&copied);
        let pushed = row(
            Cfa::Offset(X86::RSP, 32),
            Saved::AtCfa(-8),
            Saved::AtCfa(-16),
        );
        let expected = Cursor {
            pc: 0x2000,
            exact: false,
            sp: BASE + 32,
            fp: Some(0xbeef0),
            lr: None,
        };
        let step = |row: &Row, fp| by_rules(&X86_64, row, &at(BASE, fp, None), &words);
        assert_eq!(step(&pushed, None), Step::Caller(expected));
        let framed = row(
            Cfa::Offset(X86::RBP, 16),
            Saved::AtCfa(-8),
            Saved::AtCfa(-16),
        );
        assert_eq!(step(&framed, Some(BASE + 16)), Step::Caller(expected));
        assert_eq!(step(&framed, None), Step::NeedsFramePointer);
        assert_eq!(step(&framed, Some(BASE - 64)), Step::Unreadable);
        assert_eq!(step(&framed, Some(BASE + 0x3000)), Step::Beyond);
        assert_eq!(step(&framed, Some(BASE + 2 * MAX_FRAME)), Step::Unreadable);
        let outermost = row(Cfa::Offset(X86::RSP, 8), Saved::Undefined, Saved::Same);
        assert_eq!(step(&outermost, None), Step::End);
        assert_eq!(
            by_frame_pointer(&X86_64, &at(BASE, Some(BASE + 16), None), &words),
            Some(expected)
        );
        for fp in [
            BASE - 8,
            BASE + 17,
            BASE + MAX_FRAME + 8,
            u64::MAX,
            u64::MAX - 7,
        ] {
            assert_eq!(
                by_frame_pointer(&X86_64, &at(BASE, Some(fp), None), &words),
                None
            );
        }
    }

    #[test]
    fn signal_frame_reads_memory_in_expressions() {
        // The caller's stack pointer and program counter lie in the frame that the kernel pushed.
        let bytes = stack(&[0, 0, BASE - 4096, 0x3000]);
        let copied = Copied {
            base: BASE,
            bytes: &bytes,
        };
        let signal = Row {
            // DW_OP_breg7 16; DW_OP_deref
            cfa: Cfa::Expression([0x77, 16, 0x06].as_slice().into()),
            // DW_OP_breg7 24
            return_address: Saved::At([0x77, 24].as_slice().into()),
            frame_pointer: Saved::Same,
            signal: true,
        };
        let words = Words::new(&copied);
        let Step::Caller(caller) = by_rules(&X86_64, &signal, &at(BASE, None, None), &words) else {
            panic!("no caller");
        };
        assert_eq!(
            (caller.pc, caller.sp, caller.lookup()),
            (0x3000, BASE - 4096, 0x3000)
        );
    }

    #[test]
    fn endless_expression_ends() {
        // DW_OP_lit0; DW_OP_skip -4
        let code = [0x30, 0x2f, 0xfc, 0xff];
        let nothing = Copied {
            base: 0,
            bytes: &[],
        };
        assert_eq!(
            evaluate(&code, None, &|_| None, &Words::new(&nothing)),
            None
        );
    }

    #[test]
    fn aarch64_frames() {
        let bytes = stack(&[BASE + 64, 0x00a5_0000_0000_2000, 0, 0]);
        let copied = Copied {
            base: BASE,
            bytes: &bytes,
        };
        let words = Words::new(&copied);
        let framed = row(
            Cfa::Offset(AArch64::SP, 32),
            Saved::AtCfa(-24),
            Saved::AtCfa(-32),
        );
        let expected = Cursor {
            pc: 0x2000,
            exact: false,
            sp: BASE + 32,
            fp: Some(BASE + 64),
            lr: None,
        };
        let cursor = at(BASE, Some(BASE), Some(0x4444));
        assert_eq!(
            by_rules(&AARCH64, &framed, &cursor, &words),
            Step::Caller(expected)
        );
        let leaf = row(Cfa::Offset(AArch64::SP, 0), Saved::Same, Saved::Same);
        let Step::Caller(caller) = by_rules(&AARCH64, &leaf, &cursor, &words) else {
            panic!("no caller");
        };
        assert_eq!((caller.pc, caller.sp), (0x4444, BASE));
        // Only the innermost frame has a link register: a second leaf would never end.
        assert_eq!(by_rules(&AARCH64, &leaf, &caller, &words), Step::Broken);
    }
}
