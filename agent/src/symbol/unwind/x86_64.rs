//! x86-64.

use gimli::X86_64 as Dwarf;

use super::arch::{Arch, Call};

/// x86-64.
pub static X86_64: Arch = Arch {
    stack_pointer: Dwarf::RSP,
    frame_pointer: Dwarf::RBP,
    return_address: Dwarf::RA,
    link_register: false,
    address_mask: u64::MAX,
    call_bytes: 7,
    call,
};

fn call(bytes: &[u8], return_address: u64) -> Option<Call> {
    let &[.., b7, b6, b5, b4, b3, b2, b1] = bytes else {
        return None;
    };
    if b5 == 0xe8 {
        let offset = i32::from_le_bytes([b4, b3, b2, b1]);
        return Some(Call::Direct(
            return_address.wrapping_add_signed(offset.into()),
        ));
    }
    // call r/m64 is FF /2: the ModRM byte, perhaps a SIB byte, and 0, 1 or 4 bytes of displacement follow.
    let modes = [
        (b2, b1, None, 2),
        (b3, b2, Some(b1), 3),
        (b4, b3, Some(b2), 4),
        (b6, b5, Some(b4), 6),
        (b7, b6, Some(b5), 7),
    ];
    modes
        .into_iter()
        .any(|(opcode, modrm, sib, length)| {
            opcode == 0xff && modrm >> 3 & 7 == 2 && length_of(modrm, sib) == Some(length)
        })
        .then_some(Call::Indirect)
}

/// Length of FF /2 with this ModRM byte and the byte after it.
fn length_of(modrm: u8, sib: Option<u8>) -> Option<usize> {
    let register = modrm & 7;
    Some(match modrm >> 6 {
        3 => 2,
        0 if register == 5 => 6,
        0 if register == 4 && sib? & 7 == 5 => 7,
        0 if register == 4 => 3,
        0 => 2,
        1 => 3 + usize::from(register == 4),
        _ => 6 + usize::from(register == 4),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: &[u8]) -> Option<Call> {
        let mut bytes = [0x90; 7];
        bytes[7 - code.len()..].copy_from_slice(code);
        (X86_64.call)(&bytes, 0x1000)
    }

    #[test]
    fn knows_every_call() {
        assert_eq!(
            check(&[0xe8, 0xfb, 0xff, 0xff, 0xff]),
            Some(Call::Direct(0xffb))
        );
        for code in [
            &[0xff, 0xd0][..],               // call *%rax
            &[0x41, 0xff, 0xd4],             // call *%r12
            &[0xff, 0x10],                   // call *(%rax)
            &[0xff, 0x50, 0x18],             // call *0x18(%rax)
            &[0xff, 0x14, 0xc8],             // call *(%rax,%rcx,8)
            &[0xff, 0x54, 0xc8, 0x10],       // call *0x10(%rax,%rcx,8)
            &[0xff, 0x15, 1, 0, 0, 0],       // call *1(%rip)
            &[0xff, 0x90, 0, 1, 0, 0],       // call *0x100(%rax)
            &[0xff, 0x94, 0x24, 0, 1, 0, 0], // call *0x100(%rsp)
            &[0xff, 0x14, 0x25, 0, 1, 0, 0], // call *0x100
        ] {
            assert_eq!(check(code), Some(Call::Indirect), "{code:x?}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for code in [
            &[0xff, 0xe0][..],   // jmp *%rax
            &[0xff, 0xc0],       // inc %eax
            &[0xe9, 0, 0, 0, 0], // jmp
            &[0xff, 0x15, 0, 0], // half a call
            &[0x90],
        ] {
            assert_eq!(check(code), None, "{code:x?}");
        }
        assert_eq!((X86_64.call)(&[0xff, 0xd0], 0x1000), None);
    }
}
