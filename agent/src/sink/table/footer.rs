//! What was lost and what the kernel would not do: nothing when all is well.

use std::collections::BTreeMap;

use holdup_abi::counter;

use crate::{
    model::plan::{PlanEntry, Status},
    sink::units,
};

use super::page::{Page, Style};

/// Most lines of either kind: the documents may come from a file.
const MOST: usize = 32;

/// Writes losses that are not 0 and probes that are not available, unless another way to the same signal is.
pub fn write(page: &mut Page, loss: &BTreeMap<String, u64>, plan: &[PlanEntry]) {
    let lost: Vec<_> = loss.iter().filter(|&(_, &n)| n > 0).take(MOST).collect();
    let unavailable: Vec<_> = plan
        .iter()
        .filter(|entry| entry.status == Status::Unavailable && !has_alternative(entry, plan))
        .take(MOST)
        .collect();
    if page.has_guessed() || !lost.is_empty() || !unavailable.is_empty() {
        page.blank();
    }
    if page.has_guessed() {
        page.paragraph(
            "? marks a frame found by scanning the stack: it may be left over from an earlier call.",
            Style::Dim,
        );
    }
    for (name, &n) in lost {
        let meaning = describe(name).map_or(String::new(), |text| format!(": {text}"));
        // Names are a pity; waits are what was promised.
        let style = if STACKS_ONLY.iter().any(|(known, _)| known == name) {
            Style::Dim
        } else {
            Style::Alarm
        };
        page.paragraph(&format!("lost: {name} {}{meaning}", units::count(n)), style);
    }
    for PlanEntry {
        probe,
        status: _,
        reason,
    } in unavailable
    {
        page.paragraph(&format!("not available: {probe}: {reason}"), Style::Dim);
    }
}

/// Whether the same signal is had in another way: `futex (tracepoint)` for `futex (fentry)`.
pub fn has_alternative(missing: &PlanEntry, plan: &[PlanEntry]) -> bool {
    let Some((signal, _)) = missing.probe.split_once(" (") else {
        return false;
    };
    plan.iter().any(|entry| {
        entry.status == Status::Attached
            && entry
                .probe
                .split_once(" (")
                .is_some_and(|(other, _)| other == signal)
    })
}

/// What a counter of losses means.
pub fn describe(name: &str) -> Option<&'static str> {
    if let Some(index) = counter::NAMES.iter().position(|&known| known == name) {
        return counter::DESCRIPTIONS.get(index).map(|text| text.trim());
    }
    let mut ours = STACKS_ONLY.iter().chain(OTHERS);
    ours.find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
}

/// Losses in user space that leave all waits counted: what is missing are stacks and names.
const STACKS_ONLY: &[(&str, &str)] = &[
    (
        "chains_cut",
        "Chains into other processes that were not followed further: too many of them, or no time.",
    ),
    (
        "unsymbolized",
        "Frames without a function's name: the binary is stripped (install its debug symbols), or the code was \
         generated (Java: run `jcmd PID Compiler.perfmap` before recording).",
    ),
    (
        "unwind_truncated",
        "Stacks without their outer end: they were larger than a sample, or their code has no unwind tables.",
    ),
    (
        "waiters_not_unwound",
        "Threads without a stack: they woke while it was read, or there were too many.",
    ),
    (
        "stacks_overflow",
        "Samples counted without a stack: too many different ones.",
    ),
    (
        "debug_too_large",
        "Files whose debug information was too large: names without lines.",
    ),
    (
        "module_too_large",
        "Files whose unwind or symbol tables were too large.",
    ),
    ("module_limit", "Files left out because too many were open."),
    (
        "module_unreadable",
        "Files of code that could not be opened, were replaced, or are no 64-bit ELF files.",
    ),
    (
        "symbols_unreadable",
        "Files whose symbols could not be read.",
    ),
    (
        "space_evicted",
        "Processes whose files were closed to make room for others.",
    ),
    (
        "maps_unreadable",
        "Processes whose memory mappings could not be read: they ended, or the permission is missing.",
    ),
];

/// The other losses in user space.
const OTHERS: &[(&str, &str)] = &[
    (
        "records_undecodable",
        "Samples that could not be decoded: a bug in holdup.",
    ),
    (
        "recursion_missed",
        "Events the kernel skipped because another program of ours was running on that CPU.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_is_explained() {
        let engine = crate::report::engine::Engine::default();
        let ours = ["waiters_not_unwound", "recursion_missed"];
        let names = engine.losses().into_keys();
        let names = names.chain(ours.map(str::to_owned));
        for name in names.chain(counter::NAMES.iter().map(|&name| name.to_owned())) {
            assert!(describe(&name).is_some(), "{name}");
        }
    }
}
