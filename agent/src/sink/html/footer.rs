//! What was lost, what the kernel would not do, and what the words mean.

use super::markup::Html;
use crate::{
    model::plan::Status,
    sink::{Report, table::footer, text, units},
};

/// Most lines of either kind: the documents may come from a file.
const MOST: usize = 32;

pub fn write(html: &mut Html, report: &Report) {
    let (loss, plan) = match report {
        Report::Capture(capture) => (&capture.loss, &capture.plan),
        Report::Snapshot(snapshot) => (&snapshot.loss, &snapshot.plan),
    };
    html.raw("<footer>\n");
    let lost: Vec<_> = loss.iter().filter(|&(_, &n)| n > 0).take(MOST).collect();
    if lost.is_empty() {
        html.raw("<p>Nothing was lost.</p>\n");
    }
    for (name, &n) in lost {
        let meaning = footer::describe(name).map_or(String::new(), |text| format!(": {text}"));
        let name = text::truncate_end(name, 60);
        html.leaf(
            "p",
            &[("class", "alarm")],
            &format!("Lost: {name} {}{meaning}", units::count(n)),
        );
    }
    let missing = plan.iter().filter(|entry| {
        entry.status == Status::Unavailable && !footer::has_alternative(entry, plan)
    });
    for entry in missing.take(MOST) {
        let line = format!("Not available: {}: {}", entry.probe, entry.reason);
        html.leaf("p", &[], &text::truncate_end(&line, 400));
    }
    html.raw("<p><span class=\"badge exact\">exact</span> is written down by the lock or the kernel itself, ");
    html.raw("<span class=\"badge observed\">observed</span> was seen to happen, ");
    html.raw("<span class=\"badge inferred\">inferred</span> is a guess with evidence. A frame marked ? was found by ");
    html.raw("scanning the stack and may be left over from an earlier call.</p>\n</footer>\n");
}
