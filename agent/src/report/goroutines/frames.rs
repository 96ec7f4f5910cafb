//! Goroutines' frames as the model has them.

use crate::{
    model::Frame,
    runtime::go::{Program, census::Stack},
};

/// Frames of a stack, innermost first.
#[must_use]
pub fn of(program: &Program, stack: &Stack) -> Vec<Frame> {
    stack
        .frames
        .iter()
        .map(|(address, named)| Frame {
            function: Some(named.function.clone()).filter(|name| !name.is_empty()),
            module: program.module.clone(),
            offset: address.wrapping_sub(program.bias),
            file: named.file.clone(),
            line: named.line.filter(|line| *line > 0),
            inlined: named.inlined,
            guessed: false,
        })
        .collect()
}
