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
