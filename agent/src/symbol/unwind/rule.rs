//! How to find a frame's caller, as call frame information says it, in a form that needs no section to be read again.

use std::rc::Rc;

use gimli::{EndianSlice, EvaluationResult, Expression, LittleEndian, Location, Register, Value};

use super::words::Words;

/// Iterations of one expression: real ones take fewer than twenty, and a hostile one may loop.
const MAX_ITERATIONS: u32 = 256;

/// The canonical frame address: the value of the stack pointer in the caller.
#[derive(Clone, Debug, PartialEq)]
pub enum Cfa {
    /// A register's value plus an offset.
    Offset(Register, i64),
    /// A DWARF expression.
    Expression(Rc<[u8]>),
}

/// Where a register's value in the caller is.
#[derive(Clone, Debug, PartialEq)]
pub enum Saved {
    /// There is none: for the return address, the stack ends here.
    Undefined,
    /// Still in the register.
    Same,
    /// In memory, at an offset from the canonical frame address.
    AtCfa(i64),
    /// The canonical frame address plus an offset.
    Cfa(i64),
    /// In another register.
    Register(Register),
    /// In memory, at the address that a DWARF expression gives.
    At(Rc<[u8]>),
    /// What a DWARF expression gives.
    Value(Rc<[u8]>),
}

/// The rules at one address.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The caller's stack pointer.
    pub cfa: Cfa,
    /// The return address.
    pub return_address: Saved,
    /// The caller's frame pointer register.
    pub frame_pointer: Saved,
    /// The frame was made by the kernel to run a signal handler: its caller was interrupted at the address, it did
    /// not call from before it.
    pub signal: bool,
}

/// Runs a DWARF expression; `initial` is on its stack at the start, `register` gives known registers.
pub fn evaluate(
    code: &[u8],
    initial: Option<u64>,
    register: &dyn Fn(Register) -> Option<u64>,
    words: &Words<'_>,
) -> Option<u64> {
    let encoding = gimli::Encoding {
        address_size: 8,
        format: gimli::Format::Dwarf32,
        version: 4,
    };
    let mut evaluation = Expression(EndianSlice::new(code, LittleEndian)).evaluation(encoding);
    evaluation.set_max_iterations(MAX_ITERATIONS);
    if let Some(initial) = initial {
        evaluation.set_initial_value(initial);
    }
    let mut state = evaluation.evaluate().ok()?;
    // Each resumption costs at least one iteration, so this ends.
    loop {
        state = match state {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresRegister {
                register: wanted, ..
            } => evaluation
                .resume_with_register(Value::Generic(register(wanted)?))
                .ok()?,
            EvaluationResult::RequiresMemory {
                address, size: 8, ..
            } => evaluation
                .resume_with_memory(Value::Generic(words.read(address)?))
                .ok()?,
            _ => return None,
        };
    }
    match evaluation.as_result().last()?.location {
        Location::Address { address } => Some(address),
        _ => None,
    }
}
