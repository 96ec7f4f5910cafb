//! A stack that opens and closes.

use super::markup::Html;
use crate::{
    model::Frame,
    sink::{name, table, text, units},
};

/// Most frames shown.
const MAX_FRAMES: usize = 48;

/// A stack under a title.
pub fn details(html: &mut Html, title: &str, frames: &[Frame], is_open: bool) {
    html.raw(if is_open {
        "<details open>"
    } else {
        "<details>"
    });
    html.leaf("summary", &[], title);
    list(html, frames);
    html.close("details");
}

/// Innermost first.
pub fn list(html: &mut Html, frames: &[Frame]) {
    let frames = table::stack::shown(frames);
    if frames.is_empty() {
        html.raw("<p class=\"quiet\">The stack could not be read.</p>\n");
        return;
    }
    html.raw("<ol class=\"stack\">\n");
    for frame in frames.iter().take(MAX_FRAMES) {
        html.raw("<li>");
        if frame.guessed {
            html.raw("<abbr title=\"found by scanning the stack: it may be left over from an earlier call\">?</abbr> ");
        }
        let function = text::shorten_function(&name::function(frame), 160);
        html.inline("code", &[], &function);
        let location = name::location(frame);
        if !location.is_empty() {
            html.raw(" ");
            let location = text::truncate_middle(&location, 80);
            let path = text::truncate_middle(frame.file.as_deref().unwrap_or_default(), 240);
            html.inline("span", &[("class", "quiet"), ("title", &path)], &location);
        }
        html.raw("</li>\n");
    }
    if let Some(more @ 1..) = frames.len().checked_sub(MAX_FRAMES) {
        let more = units::plural(more as u64, "caller", "callers");
        html.leaf("li", &[("class", "quiet")], &format!("{more} more"));
    }
    html.raw("</ol>\n");
}
