//! Stack frames, before and after symbolisation.

use serde::{Deserialize, Serialize};

use super::hex;

/// One address of an unwound stack, innermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RawFrame {
    /// Address to look symbols up at: the program counter for the innermost frame, the return address minus one byte
    /// for its callers, so that it lies inside the call instruction.
    pub address: u64,
    /// Found by scanning the stack for return addresses, not by unwinding: it may be stale.
    pub guessed: bool,
}

/// One function activation, innermost first; an inlined function has its own frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Frame {
    /// Demangled function name; null when no symbol covers the address.
    pub function: Option<String>,
    /// Path of the module in the target's mount namespace, `[vdso]`, or null for unmapped memory.
    pub module: Option<String>,
    /// ELF virtual address inside the module (what `addr2line -e module` takes); the plain address without a module.
    #[serde(with = "hex")]
    pub offset: u64,
    /// Source file as debug information names it.
    pub file: Option<String>,
    /// Line in `file`, from 1.
    pub line: Option<u32>,
    /// The compiler inlined this function into the next frame.
    pub inlined: bool,
    /// See [`RawFrame::guessed`].
    pub guessed: bool,
}
