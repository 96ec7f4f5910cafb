//! What functions call, read from their code: who takes a lock calls what takes it.

use std::collections::{BTreeSet, HashMap};

use iced_x86::{Decoder, DecoderOptions, FlowControl, Mnemonic};

use super::{
    census::Census,
    pclntab::{Function, Pclntab},
    program::Program,
    standard::{is_machinery, is_standard},
    suspect::Wanted,
};
use crate::proc::memory::{Memory as _, Process};

/// Most functions of the application that are said to be called by one.
const MAX_CALLED: usize = 64;
/// Most deferred functions of one.
const MAX_DEFERRED: usize = 16;
/// Largest function whose calls are read.
const MAX_CODE: u64 = 64 << 10;

/// What functions call, remembered.
pub struct Calls<'a> {
    table: &'a Pclntab,
    memory: &'a Process,
    /// What the compiler calls the functions that it makes of `defer` statements: this and a number.
    deferred: &'static [&'static str],
    known: HashMap<u64, Called>,
}

/// What a function calls.
struct Called {
    /// All names, with those of what was inlined.
    names: Vec<String>,
    /// The application's own functions.
    functions: Vec<Function>,
}

impl<'a> Calls<'a> {
    /// Knows nothing yet.
    pub fn new(program: &'a Program, memory: &'a Process) -> Self {
        Self {
            table: &program.table,
            memory,
            deferred: if program.version.minor < 22 {
                &["func", ""]
            } else {
                &["deferwrap"]
            },
            known: HashMap::new(),
        }
    }

    /// The innermost function of the application on a goroutine's stack that calls any of these, and whether it does so
    /// through another one.
    pub fn takes(
        &mut self,
        census: &Census,
        index: usize,
        wanted: &Wanted,
    ) -> Option<(String, bool)> {
        let parts = wanted.calls;
        let stack = census.stack(census.goroutines.get(index)?)?;
        let inside = stack.frames.iter().find(|(_, frame)| {
            let name = &frame.function;
            wanted.inside.iter().any(|prefix| name.starts_with(prefix))
        });
        if let Some((_, frame)) = inside {
            return Some((frame.function.clone(), false));
        }
        let mut own: Vec<(Function, &str)> = stack
            .frames
            .iter()
            // What was inlined is part of the function that it was inlined into.
            .filter(|(_, frame)| !frame.inlined && !is_machinery(&frame.function))
            .filter_map(|(address, frame)| {
                Some((self.table.find(*address)?, frame.function.as_str()))
            })
            .collect();
        // The standard library has locks of its own; but of the application's lock the application has to do with.
        own.sort_by_key(|(_, name)| is_standard(name));
        let any = |names: &[String]| {
            names
                .iter()
                .any(|name| parts.iter().any(|part| name.contains(part)))
        };
        let takes = |(function, name): &(Function, &str)| {
            any(&self.of(*function).names).then(|| (*name).to_owned())
        };
        if let Some(name) = own.iter().find_map(takes) {
            return Some((name, false));
        }
        own.iter().find_map(|(function, name)| {
            let called = self.of(*function).functions.clone();
            called
                .into_iter()
                .any(|called| any(&self.of(called).names))
                .then(|| ((*name).to_owned(), true))
        })
    }

    /// What a function calls.
    fn of(&mut self, function: Function) -> &Called {
        let (table, memory, prefixes) = (self.table, self.memory, self.deferred);
        self.known.entry(function.entry).or_insert_with(|| {
            let mut of = Called {
                names: table.inlined_into(function, memory),
                functions: Vec::new(),
            };
            let mut left = MAX_DEFERRED;
            let mut bodies = vec![function];
            while let Some(body) = bodies.pop() {
                let end = table.end(body).unwrap_or(body.entry);
                let size = end.saturating_sub(body.entry).min(MAX_CODE);
                let mut code = vec![0; usize::try_from(size).unwrap_or(0)];
                if !memory.read(body.entry, &mut code) {
                    continue;
                }
                let (called, taken) = references(&code, body.entry);
                for called in called.into_iter().filter_map(|entry| table.find(entry)) {
                    let name = table.name(called).unwrap_or_default();
                    if !is_machinery(&name) && of.functions.len() < MAX_CALLED {
                        of.functions.push(called);
                    }
                    of.names.push(name);
                }
                // What it defers is its own doing.
                let deferred = taken
                    .into_iter()
                    .filter(|_| table.defers(body))
                    .filter_map(|entry| table.find(entry).filter(|found| found.entry == entry))
                    .filter(|found| is_deferred(table, body, *found, prefixes));
                for deferred in deferred {
                    if left > 0 {
                        left -= 1;
                        of.names.extend(table.inlined_into(deferred, memory));
                        bodies.push(deferred);
                    }
                }
            }
            of
        })
    }
}

/// Whether the compiler made a function of a `defer` statement: `main.f.deferwrap1`, or `main.f.func1` before Go 1.22.
fn is_deferred(table: &Pclntab, by: Function, function: Function, prefixes: &[&str]) -> bool {
    let (Some(outer), Some(name)) = (table.name(by), table.name(function)) else {
        return false;
    };
    let rest = name.strip_prefix(&outer);
    let Some(rest) = rest.and_then(|rest| rest.strip_prefix('.')) else {
        return false;
    };
    let mut numbers = prefixes
        .iter()
        .filter_map(|prefix| rest.strip_prefix(prefix));
    numbers.any(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Addresses that code calls, and those that it takes.
fn references(code: &[u8], address: u64) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let (mut called, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for instruction in &mut Decoder::with_ip(64, code, address, DecoderOptions::NONE) {
        if instruction.flow_control() == FlowControl::Call {
            called.insert(instruction.near_branch_target());
        } else if instruction.mnemonic() == Mnemonic::Lea && instruction.is_ip_rel_memory_operand()
        {
            taken.insert(instruction.ip_rel_memory_address());
        }
    }
    (called, taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_code() {
        // call +0x10; lea rdx, [rip+0x57]; ret
        let code = [0xe8, 0x10, 0, 0, 0, 0x48, 0x8d, 0x15, 0x57, 0, 0, 0, 0xc3];
        let (called, taken) = references(&code, 0x1000);
        assert_eq!(
            (called, taken),
            (BTreeSet::from([0x1015]), BTreeSet::from([0x1063]))
        );
    }
}
