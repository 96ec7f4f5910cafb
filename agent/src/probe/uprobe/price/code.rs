//! Functions whose probed instruction is known, in assembly: what a hit costs depends on the instruction alone.

use std::{arch::global_asm, io};

#[cfg(target_arch = "x86_64")]
use holdup_abi::uprobe::PRICE_NOP5;
use holdup_abi::uprobe::{PRICE_EMULATED, PRICE_RETURN, PRICE_RETURN_STEPPED, PRICE_STEPPED};

use crate::proc::maps::Maps;

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".pushsection .text.holdup_price, \"ax\", @progbits",
    ".p2align 4",
    ".hidden holdup_price_emulated",
    ".globl holdup_price_emulated",
    "holdup_price_emulated: push rbx",
    "pop rbx",
    "ret",
    ".p2align 4",
    ".hidden holdup_price_stepped",
    ".globl holdup_price_stepped",
    "holdup_price_stepped: mov eax, edi",
    "ret",
    ".p2align 4",
    ".hidden holdup_price_nop5",
    ".globl holdup_price_nop5",
    "holdup_price_nop5: .byte 0x0f, 0x1f, 0x44, 0x00, 0x00",
    "ret",
    ".popsection",
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".pushsection .text.holdup_price, \"ax\", @progbits",
    ".p2align 4",
    ".hidden holdup_price_emulated",
    ".globl holdup_price_emulated",
    "holdup_price_emulated: b 1f",
    "1: ret",
    ".hidden holdup_price_stepped",
    ".globl holdup_price_stepped",
    "holdup_price_stepped: mov x1, x0",
    "ret",
    ".popsection",
);

unsafe extern "C" {
    safe fn holdup_price_emulated();
    safe fn holdup_price_stepped();
    #[cfg(target_arch = "x86_64")]
    safe fn holdup_price_nop5();
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// One of the `PRICE_*` constants.
    pub price: u8,
    /// What is called.
    pub function: extern "C" fn(),
    /// The probe is at its return.
    pub returns: bool,
}

/// One for each price that this architecture has.
pub const CASES: &[Case] = &[
    Case {
        price: PRICE_EMULATED,
        function: holdup_price_emulated,
        returns: false,
    },
    Case {
        price: PRICE_STEPPED,
        function: holdup_price_stepped,
        returns: false,
    },
    Case {
        price: PRICE_RETURN,
        function: holdup_price_emulated,
        returns: true,
    },
    Case {
        price: PRICE_RETURN_STEPPED,
        function: holdup_price_stepped,
        returns: true,
    },
    #[cfg(target_arch = "x86_64")]
    Case {
        price: PRICE_NOP5,
        function: holdup_price_nop5,
        returns: false,
    },
];

/// Offset of a function in our own executable.
///
/// # Errors
/// `/proc` does not tell.
pub fn offset(function: extern "C" fn()) -> io::Result<u64> {
    let address = function as usize as u64;
    let maps = Maps::read(std::process::id())?;
    let mapping = maps
        .0
        .iter()
        .find(|mapping| (mapping.start..mapping.end).contains(&address));
    mapping
        .map(|mapping| address - mapping.start + mapping.file_offset)
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}
