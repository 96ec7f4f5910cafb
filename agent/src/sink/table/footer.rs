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
        page.paragraph(
            &format!("lost: {name} {}{meaning}", units::count(n)),
            Style::Alarm,
        );
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
    let index = counter::NAMES.iter().position(|&known| known == name)?;
    counter::DESCRIPTIONS.get(index).map(|text| text.trim())
}
