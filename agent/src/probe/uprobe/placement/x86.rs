//! x86-64: `push` of a register, `nop`, `call`, `jmp` and conditional jumps are emulated.
//!
//! Source: `branch_setup_xol_ops` and `push_setup_xol_ops` in `arch/x86/kernel/uprobes.c`. Longer forms of `nop` are
//! emulated since Linux 6.18 only, and `endbr64` is not: neither is taken for emulated here.

use std::collections::BTreeSet;

use iced_x86::{
    ConditionCode, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory,
    Mnemonic, OpAccess, OpKind, Register,
};

use super::{Kind, MAX_CODE, Needs, Placement};

/// Most instructions of the code that asks for a larger stack: it saves and restores every argument register.
const MAX_MORE_STACK: usize = 48;
/// Offset of the stack's limit in Go's `g`.
const STACK_LIMIT: u64 = 0x10;

/// See [`super::place`].
#[must_use]
pub fn place(code: &[u8], function_offset: u64, needs: Needs) -> Placement {
    let code = code.get(..MAX_CODE).unwrap_or(code);
    let mut info = InstructionInfoFactory::new();
    let mut last = Instruction::default();
    let instructions = decode(code, 0).map(|instruction| {
        let at = instruction.ip() as usize;
        let kind = kind(code, &last, &instruction, &mut info);
        last = instruction;
        (at, kind)
    });
    super::search(instructions, &targets(code), function_offset, needs)
}

/// Instructions from offset `at` on, whose addresses are their offsets.
fn decode(code: &[u8], at: usize) -> impl Iterator<Item = Instruction> {
    let code = code.get(at..).unwrap_or_default();
    let mut decoder = Decoder::with_ip(64, code, at as u64, DecoderOptions::NONE);
    std::iter::from_fn(move || decoder.can_decode().then(|| decoder.decode()))
}

fn targets(code: &[u8]) -> BTreeSet<usize> {
    decode(code, 0)
        .filter_map(|instruction| branch_target(&instruction))
        .filter_map(|target| usize::try_from(target).ok())
        .filter(|&target| target < code.len())
        .collect()
}

fn branch_target(instruction: &Instruction) -> Option<u64> {
    let direct = instruction.op_count() > 0 && instruction.op0_kind() == OpKind::NearBranch64;
    direct.then(|| instruction.near_branch_target())
}

fn kind(
    code: &[u8],
    last: &Instruction,
    instruction: &Instruction,
    info: &mut InstructionInfoFactory,
) -> Kind {
    let at = instruction.ip() as usize;
    let bytes = code.get(at..at + instruction.len()).unwrap_or_default();
    if instruction.is_invalid() {
        return Kind::End;
    }
    if is_emulated(bytes) {
        return stack_check(code, last, instruction).unwrap_or(Kind::Emulated);
    }
    if instruction.flow_control() != FlowControl::Next {
        return Kind::End;
    }
    let written = info.info(instruction).used_registers().iter();
    let written = written.filter(|used| {
        !matches!(
            used.access(),
            OpAccess::Read | OpAccess::CondRead | OpAccess::None | OpAccess::NoMemAccess
        )
    });
    let mut writes = 0;
    for used in written {
        let full = used.register().full_register();
        if full.is_gpr64() {
            writes |= 1 << full.number();
        }
    }
    Kind::Plain {
        writes,
        stack_bytes: stack_bytes(instruction, writes & 1 << 4 != 0),
    }
}

/// As the kernel decides it. Prefixes other than those that belong to the instruction are left out: it refuses most.
fn is_emulated(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [0x50..=0x57]
            | [0x41, 0x50..=0x57]
            | [0x90]
            | [0xe8 | 0xe9, _, _, _, _]
            | [0xeb | 0x70..=0x7f, _]
            | [0x0f, 0x80..=0x8f, _, _, _, _]
    )
}

/// Bytes that an instruction takes from the stack pointer.
fn stack_bytes(instruction: &Instruction, writes_stack_pointer: bool) -> Option<i64> {
    if !writes_stack_pointer {
        return Some(0);
    }
    let on_stack_pointer =
        instruction.op0_kind() == OpKind::Register && instruction.op0_register() == Register::RSP;
    match instruction.mnemonic() {
        Mnemonic::Push => Some(-i64::from(instruction.stack_pointer_increment())),
        Mnemonic::Sub if on_stack_pointer && is_immediate(instruction.op1_kind()) => {
            Some(instruction.immediate(1).cast_signed())
        }
        Mnemonic::Add if on_stack_pointer && is_immediate(instruction.op1_kind()) => {
            instruction.immediate(1).cast_signed().checked_neg()
        }
        Mnemonic::Lea
            if on_stack_pointer
                && instruction.memory_base() == Register::RSP
                && instruction.memory_index() == Register::None =>
        {
            instruction
                .memory_displacement64()
                .cast_signed()
                .checked_neg()
        }
        _ => None,
    }
}

fn is_immediate(kind: OpKind) -> bool {
    matches!(kind, OpKind::Immediate8to64 | OpKind::Immediate32to64)
}

/// `cmp rsp, [r14+16]; jbe more`: the jump, and whether what it jumps to does what it must.
fn stack_check(code: &[u8], last: &Instruction, instruction: &Instruction) -> Option<Kind> {
    let is_check = instruction.condition_code() == ConditionCode::be
        && last.mnemonic() == Mnemonic::Cmp
        && last.op0_kind() == OpKind::Register
        && last.op1_kind() == OpKind::Memory
        && last.memory_index() == Register::None
        && last.memory_displacement64() == STACK_LIMIT;
    if !is_check {
        return None;
    }
    let target = branch_target(instruction).and_then(|target| usize::try_from(target).ok());
    let returns = target.is_some_and(|target| starts_again(code, target));
    // Another register than r14 is an old Go, or not Go at all.
    (returns || last.memory_base() == Register::R14).then_some(Kind::StackCheck { returns })
}

/// A call, and then a jump to the entry, with nothing between that leads elsewhere.
fn starts_again(code: &[u8], at: usize) -> bool {
    let mut called = false;
    for instruction in decode(code, at).take(MAX_MORE_STACK) {
        match instruction.flow_control() {
            FlowControl::Next => {}
            FlowControl::Call => called = true,
            FlowControl::UnconditionalBranch => {
                return called && branch_target(&instruction) == Some(0);
            }
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENTRY: u64 = 0x1000;

    fn placed(code: &[u8]) -> Placement {
        place(code, ENTRY, Needs::NONE.register(7))
    }

    fn emulated(at: u64, pushed_words: u8) -> Placement {
        Placement {
            offset: ENTRY + at,
            pushed_words,
            emulated: true,
            may_repeat: false,
            why: "emulated",
        }
    }

    #[test]
    fn first_emulated_instruction() {
        let cases: &[(&[u8], u64, u8)] = &[
            // push rbp; ret
            (b"\x55\xc3", 0, 0),
            // endbr64; push r12; ret
            (b"\xf3\x0f\x1e\xfa\x41\x54\xc3", 4, 0),
            // mov eax, [rdi+16]; test eax, eax; jne +0; ret
            (b"\x8b\x47\x10\x85\xc0\x75\x00\xc3", 5, 0),
            // sub rsp, 24; call +0; ret
            (b"\x48\x83\xec\x18\xe8\x00\x00\x00\x00\xc3", 4, 3),
            // push [rip]; lea rsp, [rsp-8]; jmp +0
            (b"\xff\x35\0\0\0\0\x48\x8d\x64\x24\xf8\xeb\x00", 11, 2),
            // xor eax, eax; nop; ret
            (b"\x31\xc0\x90\xc3", 2, 0),
        ];
        for &(code, at, words) in cases {
            assert_eq!(placed(code), emulated(at, words), "{code:x?}");
        }
    }

    #[test]
    fn entry_where_there_is_none() {
        let cases: &[(&[u8], &str)] = &[
            // xor eax, eax; ret
            (b"\x31\xc0\xc3", "no emulated instruction at the beginning"),
            // mov rdi, rax; push rbp
            (
                b"\x48\x89\xc7\x55",
                "arguments are overwritten before an emulated instruction",
            ),
            // xchg eax, edi; push rbp
            (
                b"\x97\x55",
                "arguments are overwritten before an emulated instruction",
            ),
            // and rsp, -16; push rbp
            (b"\x48\x83\xe4\xf0\x55", "the stack is realigned"),
            // sub rsp, 4096; push rbp
            (
                b"\x48\x81\xec\x00\x10\x00\x00\x55",
                "the return address is too far away",
            ),
            // nop dword [rax]; 8: dec eax; jne 3
            (
                b"\x0f\x1f\x00\xff\xc8\x75\xfc\xc3",
                "a branch leads back to the beginning",
            ),
            // endbr64; syscall
            (
                b"\xf3\x0f\x1e\xfa\x0f\x05\x55",
                "no emulated instruction at the beginning",
            ),
            // jmp rax
            (b"\xff\xe0\x55", "no emulated instruction at the beginning"),
            // notrack and 16-bit branches are refused by the kernel.
            (
                b"\x66\xe9\x00\x00\x55",
                "no emulated instruction at the beginning",
            ),
            (b"", "no emulated instruction at the beginning"),
        ];
        for &(code, why) in cases {
            assert_eq!(placed(code), Placement::entry(ENTRY, why), "{code:x?}");
        }
        // Nobody needs the argument.
        assert_eq!(
            place(b"\x48\x89\xc7\x55", ENTRY, Needs::NONE),
            emulated(3, 0)
        );
    }

    /// `cmp rsp, [r14+16]; jbe more; push rbp; ret; more: call +0; jmp 0`
    const GO: &[u8] = b"\x49\x3b\x66\x10\x76\x02\x55\xc3\xe8\0\0\0\0\xeb\xf1";

    #[test]
    fn a_go_function_is_probed_behind_its_stack_check() {
        assert_eq!(placed(GO), emulated(6, 0));
    }

    #[test]
    fn a_go_function_that_saves_nothing_is_probed_at_its_stack_check() {
        // sub rsp, 24 and mov [rsp+16], rbp in place of the push, as Go 1.19 does; then the argument is overwritten.
        let code = b"\x49\x3b\x66\x10\x76\x0c\x48\x83\xec\x18\x48\x89\x6c\x24\x10\x31\xff\xc3\xe8\0\0\0\0\xeb\xe7";
        let placement = Placement {
            may_repeat: true,
            why: "emulated, the stack check of a Go function",
            ..emulated(4, 0)
        };
        assert_eq!(placed(code), placement);
        // What it jumps to is not in the code.
        assert_eq!(placed(&GO[..8]), placement);
    }

    #[test]
    fn a_comparison_in_c_is_no_stack_check() {
        // cmp rax, [rdi+16]; jbe +0; push rbp
        assert_eq!(placed(b"\x48\x3b\x47\x10\x76\x00\x55"), emulated(4, 0));
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
