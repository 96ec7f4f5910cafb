//! Stacks: one line per frame, the function at the left, its line at the right.

use crate::{
    model::Frame,
    sink::{name, text, units},
};

use super::page::{Page, Style};

/// Columns left of a frame.
const INDENT: usize = 11;
/// Widest location.
const LOCATION: usize = 30;

/// Writes the innermost application frames, `most` of them.
pub fn write(page: &mut Page, frames: &[Frame], most: usize) {
    let frames = match name::application_frames(frames) {
        [] => frames,
        application => application,
    };
    if frames.is_empty() {
        line(page, "(the stack could not be read)", "");
    }
    // A remark instead of a single frame saves nothing.
    let shown = if frames.len() == most + 1 {
        most + 1
    } else {
        most
    };
    for frame in frames.iter().take(shown) {
        if frame.guessed {
            page.note_guessed();
        }
        let location = text::truncate_middle(&name::location(frame), LOCATION);
        let mark = if frame.guessed { "? " } else { "" };
        let room = page.width() - INDENT - 2 - LOCATION.min(text::width(&location)) - mark.len();
        let function = text::shorten_function(&name::function(frame), room);
        line(page, &format!("{mark}{function}"), &location);
    }
    if let Some(more @ 1..) = frames.len().checked_sub(shown) {
        let more = units::plural(more as u64, "caller", "callers");
        line(page, &format!("({more} more)"), "");
    }
}

fn line(page: &mut Page, function: &str, location: &str) {
    let columns = page.width() - INDENT - text::width(location);
    let left = format!("{:INDENT$}{}", "", text::left(function, columns));
    page.line(&[(&left, Style::Plain), (location, Style::Dim)]);
}
