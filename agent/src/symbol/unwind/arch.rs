//! What differs between processors.

use gimli::Register;

/// A processor, as an unwinder sees it.
#[derive(Debug)]
pub struct Arch {
    /// DWARF number of the stack pointer.
    pub stack_pointer: Register,
    /// DWARF number of the frame pointer.
    pub frame_pointer: Register,
    /// DWARF number of the return address: a column of its own, or the link register.
    pub return_address: Register,
    /// A call leaves the return address in a register; a function that calls nothing need not store it.
    pub link_register: bool,
    /// Bytes of address that count: the rest may hold a pointer authentication code.
    pub address_mask: u64,
    /// Bytes before a return address that [`Arch::call`] looks at.
    pub call_bytes: usize,
    /// What call instruction ends `bytes`, which end at `return_address`.
    pub call: fn(bytes: &[u8], return_address: u64) -> Option<Call>,
}

/// A call instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// To this address.
    Direct(u64),
    /// To an address that was computed.
    Indirect,
}

#[cfg(target_arch = "aarch64")]
pub use super::aarch64::AARCH64 as NATIVE;
#[cfg(target_arch = "x86_64")]
pub use super::x86_64::X86_64 as NATIVE;
