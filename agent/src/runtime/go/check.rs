//! Whether a layout fits a process: what its goroutines say must agree, else nothing of it is believed.

use std::collections::HashSet;

use super::{globals::Globals, goroutine, layout::Layout, pclntab::Pclntab, status::Status};
use crate::proc::memory::Memory;

/// Goroutines that are looked at; the first ones, which are made before `main` runs.
const LOOKED_AT: u64 = 64;
/// Tries, since a process that runs changes under our eyes.
const TRIES: usize = 3;

/// Checks a layout against a process.
///
/// # Errors
/// What does not agree, in words.
pub fn check(
    memory: &dyn Memory,
    layout: &Layout,
    table: &Pclntab,
    globals: &Globals,
) -> Result<(), String> {
    let mut reason = String::new();
    for _ in 0..TRIES {
        match once(memory, layout, table, globals) {
            Ok(()) => return Ok(()),
            Err(why) => reason = format!("its goroutines do not look as expected: {why}"),
        }
    }
    Err(reason)
}

fn once(
    memory: &dyn Memory,
    layout: &Layout,
    table: &Pclntab,
    globals: &Globals,
) -> Result<(), &'static str> {
    let all = addresses(memory, globals.allgs, LOOKED_AT).ok_or("their list cannot be read")?;
    let records = goroutine::read(memory, &all, layout);
    let first = records.first().copied().flatten();
    let first = first.ok_or("the first one cannot be read")?;
    if first.goid != 1 {
        return Err("the first one is not number 1");
    }
    let main = table.find(first.startpc);
    if !main.is_some_and(|main| table.is_named(main, "runtime.main")) {
        return Err("the first one does not run runtime.main");
    }
    let mut seen = HashSet::new();
    let mut parked = 0;
    for record in records {
        let record = record.ok_or("one has an impossible status")?;
        // Those of threads that C made have no number until they are used.
        if record.status == Status::Dead || record.goid == 0 {
            continue;
        }
        if !seen.insert(record.goid) {
            return Err("two have the same number");
        }
        let starts = table.find(record.startpc);
        if starts.is_none_or(|function| function.entry != record.startpc) {
            return Err("one starts where no function does");
        }
        if record.gopc != 0 && table.find(record.gopc).is_none() {
            return Err("one was made by no function");
        }
        if record.status == Status::Waiting {
            if !record.is_whole() {
                return Err("one has its stack pointer outside its stack");
            }
            if usize::from(record.reason) >= globals.reasons.len() {
                return Err("one waits for an unknown reason");
            }
            if table.find(record.pc).is_none() {
                return Err("one goes on where no function is");
            }
            parked += 1;
        }
    }
    if parked == 0 {
        return Err("none waits");
    }
    Ok(())
}

/// Addresses of the goroutines' records, `most` of them.
#[must_use]
pub fn addresses(memory: &dyn Memory, allgs: u64, most: u64) -> Option<Vec<u64>> {
    let array = memory.u64(allgs)?;
    let length = memory.u64(allgs.checked_add(8)?)?.min(most);
    let mut bytes = vec![0; usize::try_from(length).ok()?.checked_mul(8)?];
    memory.read(array, &mut bytes).then_some(())?;
    let (words, _) = bytes.as_chunks::<8>();
    Some(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
}
