//! Unwinding: call frame information, else frame pointers, else a checked scan of the stack.
//!
//! This module knows no files and no processes: [`Code`] tells it about code, [`Words`] reads the stack.
//!
//! gimli decodes the call frame information rather than framehop, because three things are needed that framehop 0.16
//! does not offer: to know whether an address is covered at all, to read memory in expressions (signal frames), and a
//! bound on the work that one expression can ask for.

#[cfg(any(test, target_arch = "aarch64"))]
mod aarch64;
pub mod arch;
pub mod cfi;
mod index;
pub mod rule;
mod scan;
mod step;
pub mod words;
#[cfg(any(test, target_arch = "x86_64"))]
mod x86_64;

use std::time::Instant;

use holdup_abi::record::Regs;

use self::{
    arch::{Arch, Call},
    rule::Row,
    step::{Cursor, Step},
    words::Words,
};
use crate::model::RawFrame;

/// What an unwinder must know about a process's code.
pub trait Code {
    /// Whether code can run at `address`.
    fn executable(&self, address: u64) -> bool;
    /// Whether `address` lies in a file's code, where call frame information could be, unlike generated code.
    fn in_module(&self, address: u64) -> bool;
    /// The rules at `address`.
    fn row(&self, address: u64) -> Option<Row>;
    /// Fills `buffer` with the code that ends before `address`.
    fn before(&self, address: u64, buffer: &mut [u8]) -> bool;
}

/// Bounds of one unwinding.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most frames.
    pub frames: usize,
    /// Most words that are scanned until unwinding goes on by rules.
    pub scan_words: usize,
    /// When to stop.
    pub deadline: Instant,
}

/// An unwound stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Innermost first; never empty.
    pub frames: Vec<RawFrame>,
    /// The thread's first function was not reached.
    pub truncated: bool,
    /// Rules led to an address that is not known to be code: perhaps of a library that was loaded since.
    pub unknown: bool,
}

/// Unwinds a stack. It always ends: the number of frames is bounded, and so is the work for each.
pub fn walk(arch: &Arch, code: &dyn Code, regs: Regs, words: &Words<'_>, bounds: Bounds) -> Walk {
    let walker = Walker {
        arch,
        code,
        words,
        deadline: bounds.deadline,
    };
    let mut cursor = Cursor {
        pc: regs.pc,
        exact: true,
        sp: regs.sp,
        fp: (regs.fp != 0).then_some(regs.fp),
        lr: (regs.lr != 0).then_some(regs.lr & arch.address_mask),
    };
    let mut walk = Walk {
        unknown: !code.executable(regs.pc),
        ..Walk::default()
    };
    let (mut guessed, mut ever_guessed) = (false, false);
    let mut scan_words = bounds.scan_words;
    walk.truncated = loop {
        let row = code.row(cursor.lookup());
        let trampoline = row.as_ref().is_some_and(|row| row.signal);
        walk.frames.push(RawFrame {
            // Nobody called a signal trampoline: it is not the byte before it that has its name.
            address: if trampoline {
                cursor.pc
            } else {
                cursor.lookup()
            },
            guessed,
        });
        if walk.frames.len() >= bounds.frames || walker.late() {
            break true;
        }
        let step = row.map(|row| step::by_rules(arch, &row, &cursor, words));
        let step = match step {
            Some(Step::Caller(caller)) if !code.executable(caller.lookup()) => {
                walk.unknown = true;
                Some(Step::Broken)
            }
            step => step,
        };
        guessed = match step {
            Some(Step::End | Step::Null) => break false,
            Some(Step::Caller(caller)) => {
                scan_words = bounds.scan_words;
                cursor = caller;
                false
            }
            // What could be found by a search lies inside this very frame, left over from earlier calls.
            Some(Step::Beyond) if !ever_guessed => break true,
            Some(Step::NeedsFramePointer | Step::Unreadable | Step::Beyond | Step::Broken)
            | None => {
                let Some(found) = walker.guess(&cursor, step, scan_words) else {
                    // Code without rules cannot say that it is a thread's first function.
                    break step.is_some();
                };
                scan_words = scan_words.saturating_sub(found.words);
                cursor = found.cursor;
                ever_guessed |= found.guessed;
                found.guessed
            }
        };
    };
    walk
}

/// Everything that stays the same during one unwinding.
struct Walker<'a> {
    arch: &'a Arch,
    code: &'a dyn Code,
    words: &'a Words<'a>,
    deadline: Instant,
}

impl Walker<'_> {
    fn late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Whether the instruction before `address` is a call to somewhere that can be called.
    fn after_call(&self, address: u64) -> bool {
        let mut bytes = [0; 8];
        let Some(bytes) = bytes.get_mut(..self.arch.call_bytes) else {
            return false;
        };
        // In this order, since most words on a stack are no code addresses at all.
        let last = address.saturating_sub(1);
        if !self.code.executable(last) || !self.code.before(address, bytes) {
            return false;
        }
        match (self.arch.call)(bytes, address) {
            Some(Call::Direct(target)) => self.code.executable(target),
            Some(Call::Indirect) => true,
            None => false,
        }
    }
}

#[cfg(test)]
mod tests;
