//! How long waits took: a table whose rows are bars.

use super::markup::Html;
use crate::{
    model::{Lock, histogram::Bucket},
    sink::units,
};

/// Most rows: the documents may come from a file.
const MAX_ROWS: usize = 64;

pub fn write(html: &mut Html, lock: &Lock) {
    let buckets = lock.histogram.get(..MAX_ROWS).unwrap_or(&lock.histogram);
    let Some(most) = buckets.iter().map(|bucket| bucket.count).max() else {
        return;
    };
    let total = buckets
        .iter()
        .fold(0_u64, |sum, bucket| sum.saturating_add(bucket.count));
    html.raw("<table class=\"histogram\">\n<caption>");
    html.text(&format!(
        "How long {} took",
        units::plural(total, "finished wait", "finished waits")
    ));
    if let Some(mean) = lock.wait_ns.total.checked_div(lock.waits) {
        html.text(&format!(
            ": {} on average, {} at most",
            units::duration(mean),
            units::duration(lock.wait_ns.max)
        ));
    }
    html.raw("</caption>\n<thead><tr><th scope=\"col\">Time</th><th scope=\"col\" class=\"number\">Waits</th>");
    html.raw("<th scope=\"col\" class=\"number\">Share</th><th scope=\"col\" class=\"bars\"></th></tr></thead>\n<tbody>\n");
    let mut above: Option<u64> = None;
    for bucket in buckets {
        // Empty buckets are not in the document; a gap in the distribution must show nevertheless.
        if above.is_some_and(|above| bucket.le_ns.is_none_or(|ns| ns / 2 > above)) {
            html.raw("<tr><th scope=\"row\" class=\"quiet\">…</th><td class=\"number quiet\">0</td><td></td><td></td></tr>\n");
        }
        above = bucket.le_ns;
        html.raw("<tr>");
        html.inline("th", &[("scope", "row")], &range(bucket));
        html.inline("td", &[("class", "number")], &units::count(bucket.count));
        let share = units::percent(bucket.count, total);
        html.inline("td", &[("class", "number")], &share);
        html.raw("<td class=\"bars\">");
        bar(html, bucket.count, most);
        html.raw("</td></tr>\n");
    }
    html.raw("</tbody></table>\n");
}

/// `8.19 us .. 16.3 us`, `over 1h 02m`.
fn range(bucket: &Bucket) -> String {
    match bucket.le_ns {
        Some(0) => "0".to_owned(),
        Some(ns) => format!("{} .. {}", units::duration(ns / 2), units::duration(ns)),
        None => "longer".to_owned(),
    }
}

/// A bar as a drawing, since the width of an element would need a style of its own.
fn bar(html: &mut Html, count: u64, most: u64) {
    let width = u128::from(count) * 1000 / u128::from(most.max(1));
    // Any count at all can be seen.
    let width = if count > 0 { width.max(4) } else { 0 };
    html.raw("<svg viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
    html.inline(
        "rect",
        &[("width", &width.to_string()), ("height", "10")],
        "",
    );
    html.raw("</svg>");
}
