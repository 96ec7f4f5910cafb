//! Frames of Go code as the model has them.

use crate::{
    model::Frame,
    proc::memory::Process,
    runtime::go::{Program, census::Stack, pclntab::Named},
};

/// Frames of a stack, innermost first.
#[must_use]
pub fn of(program: &Program, stack: &Stack) -> Vec<Frame> {
    let frames = stack.frames.iter();
    frames
        .map(|(address, named)| frame(program, *address, named))
        .collect()
}

/// What the program's own table says of an address.
#[must_use]
pub fn at(program: &Program, address: u64) -> Vec<Frame> {
    let Some(function) = program.table.find(address) else {
        return Vec::new();
    };
    let memory = Process { pid: program.pid };
    let frames = program.table.frames(function, address, &memory);
    let frames = frames.iter();
    frames.map(|named| frame(program, address, named)).collect()
}

/// A frame.
#[must_use]
pub fn frame(program: &Program, address: u64, named: &Named) -> Frame {
    Frame {
        function: Some(named.function.clone()).filter(|name| !name.is_empty()),
        module: program.module.clone(),
        offset: address.wrapping_sub(program.bias),
        file: named.file.clone(),
        line: named.line.filter(|line| *line > 0),
        inlined: named.inlined,
        guessed: false,
    }
}
