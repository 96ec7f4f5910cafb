//! A uprobe program that adds up what it sees, written by hand: what production programs make of it is their own test.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use aya_obj::generated::{bpf_cmd, bpf_insn};

use crate::probe::uprobe::sys;

/// Offsets in `struct pt_regs` of the first three arguments and the stack pointer.
#[cfg(target_arch = "x86_64")]
const REGISTERS: [i16; 4] = [112, 104, 96, 152];
#[cfg(target_arch = "aarch64")]
const REGISTERS: [i16; 4] = [0, 8, 16, 248];

/// Words per function: hits, and the sums of three arguments.
pub const WORDS: usize = 4;

/// The program and its map.
pub struct Witness {
    map: OwnedFd,
    program: OwnedFd,
}

impl Witness {
    /// For functions numbered below `functions`, and calls that return to `caller` or a little behind it: libraries call
    /// their own functions too.
    pub fn new(functions: u32, caller: u64) -> Self {
        // BPF_MAP_TYPE_ARRAY, key and value size, elements.
        let mut attributes = [2u32, 4, 8 * WORDS as u32, functions];
        let map = fd(bpf(bpf_cmd::BPF_MAP_CREATE, &mut attributes));
        let program = sys::load_multi(&program(map.as_fd(), caller), c"GPL", "witness").unwrap();
        Self { map, program }
    }

    pub fn program(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }

    /// What was seen of a function.
    pub fn seen(&self, function: u32) -> [u64; WORDS] {
        let mut value = [0u64; WORDS];
        let mut attributes = [
            self.map.as_raw_fd() as u64,
            (&raw const function) as u64,
            value.as_mut_ptr() as u64,
            0,
        ];
        let result = bpf(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attributes);
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        value
    }
}

/// Bytes that the calling function is long.
const CALLER_BYTES: i32 = 64;

fn program(map: BorrowedFd<'_>, caller: u64) -> Vec<bpf_insn> {
    const COOKIE: i32 = 174;
    const READ_USER: i32 = 112;
    const LOOK_UP: i32 = 1;
    let insn = |code: u8, dst: u8, src: u8, off: i16, imm: i32| bpf_insn {
        code,
        _bitfield_align_1: [0; 0],
        _bitfield_1: bpf_insn::new_bitfield_1(dst, src),
        off,
        imm,
    };
    let mov = |dst, src| insn(0xbf, dst, src, 0, 0);
    let set = |dst, value| insn(0xb7, dst, 0, 0, value);
    let call = |helper| insn(0x85, 0, 0, 0, helper);
    let load = |dst, src, off| insn(0x79, dst, src, off, 0);
    let add_to_word = |word: i16, src| insn(0xdb, 8, src, word * 8, 0);
    let and = |dst, value| insn(0x57, dst, 0, 0, value);
    let address = |dst, below: i32| [mov(dst, 10), insn(0x07, dst, 0, 0, -below)];
    let end = [set(0, 0), insn(0x95, 0, 0, 0, 0)];
    let mut code = vec![mov(6, 1), call(COOKIE), mov(7, 0), mov(9, 0)];
    // The return address, 8 bytes for each pushed word above the stack pointer.
    code.extend([
        insn(0x77, 7, 0, 0, 16),
        and(7, 0xff),
        insn(0x67, 7, 0, 0, 3),
    ]);
    code.extend([load(3, 6, REGISTERS[3]), insn(0x0f, 3, 7, 0, 0)]);
    code.extend(address(1, 16));
    code.extend([set(2, 8), call(READ_USER), load(1, 10, -16)]);
    // Minus the caller's, and out if it is too far away.
    code.extend([
        insn(0x18, 2, 0, 0, caller as i32),
        insn(0, 0, 0, 0, (caller >> 32) as i32),
    ]);
    code.extend([insn(0x1f, 1, 2, 0, 0), insn(0xb5, 1, 0, 2, CALLER_BYTES)]);
    code.extend(end);
    // The function's number is the key.
    code.extend([and(9, 0xffff), insn(0x63, 10, 9, -4, 0)]);
    code.extend([insn(0x18, 1, 1, 0, map.as_raw_fd()), insn(0, 0, 0, 0, 0)]);
    code.extend(address(2, 4));
    code.extend([call(LOOK_UP), insn(0x55, 0, 0, 2, 0)]);
    code.extend(end);
    code.extend([mov(8, 0), set(1, 1), add_to_word(0, 1)]);
    for (word, register) in (1..).zip(&REGISTERS[..3]) {
        code.extend([load(1, 6, *register), add_to_word(word, 1)]);
    }
    code.extend(end);
    code
}

fn bpf<T>(command: bpf_cmd, attributes: &mut T) -> i64 {
    // SAFETY: `attributes` are the command's, in its layout, and its pointers lead to local variables of the caller.
    unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as u32,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    }
}

fn fd(result: i64) -> OwnedFd {
    assert!(result >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the kernel just gave this descriptor to us alone.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(result).unwrap()) }
}
