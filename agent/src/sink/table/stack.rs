//! Stacks: one line per frame, the function at the left, its line at the right.

use crate::{
    model::Frame,
    runtime::application_frames,
    sink::{name, text, units},
};

use super::page::{Page, Style};

/// Columns left of a frame.
const INDENT: usize = 11;
/// Widest location.
const LOCATION: usize = 30;

/// Names of functions that every thread starts in, for programs that are linked statically.
const STARTS: [&str; 8] = [
    "_start",
    "start",
    "start_thread",
    "clone",
    "clone3",
    "__clone",
    "__libc_start_call_main",
    "__libc_start_main",
];

/// The frames worth showing: without the lock's machinery at the inner end and without what every thread starts in at
/// the outer one.
pub fn shown(frames: &[Frame]) -> &[Frame] {
    let frames = application_frames(frames);
    let starts = frames
        .iter()
        .rev()
        .take_while(|frame| is_start(frame))
        .count();
    match frames.get(..frames.len() - starts) {
        Some(rest) if !rest.is_empty() => rest,
        _ => frames,
    }
}

fn is_start(frame: &Frame) -> bool {
    let module = frame.module.as_deref().map_or("", name::base);
    // libstdc++ starts the threads of `std::thread`.
    let in_libc = [
        "libc.so",
        "libc-2.",
        "libpthread",
        "ld-musl",
        "ld-linux",
        "libstdc++.so",
    ]
    .iter()
    .any(|libc| module.starts_with(libc));
    in_libc
        || frame
            .function
            .as_deref()
            .is_some_and(|name| STARTS.contains(&name))
}

/// What a reader can tell two frames apart by: function, file or module, line, offset.
type Place<'a> = (Option<&'a str>, Option<&'a str>, Option<u32>, u64);

/// What a reader can tell two stacks apart by.
pub type Key<'a> = Vec<Place<'a>>;

/// Stacks with the same key look the same on the page.
pub fn key(frames: &[Frame]) -> Key<'_> {
    shown(frames).iter().map(place).collect()
}

fn place(frame: &Frame) -> Place<'_> {
    match (&frame.function, &frame.file) {
        (Some(function), Some(file)) => (Some(function), Some(file), frame.line, 0),
        (function, _) => (
            function.as_deref(),
            frame.module.as_deref(),
            None,
            frame.offset,
        ),
    }
}

/// Writes the innermost frames worth showing, `most` of them.
pub fn write(page: &mut Page, frames: &[Frame], most: usize) {
    let frames = shown(frames);
    if frames.is_empty() {
        line(page, "(the stack could not be read)", "");
    }
    // A remark instead of a single frame saves nothing.
    let count = if frames.len() == most + 1 {
        most + 1
    } else {
        most
    };
    for frame in frames.iter().take(count) {
        if frame.guessed {
            page.note_guessed();
        }
        let location = text::truncate_middle(&name::location(frame), LOCATION);
        let mark = if frame.guessed { "? " } else { "" };
        let room = page.width() - INDENT - 2 - LOCATION.min(text::width(&location)) - mark.len();
        let function = text::shorten_function(&name::function(frame), room);
        line(page, &format!("{mark}{function}"), &location);
    }
    if let Some(more @ 1..) = frames.len().checked_sub(count) {
        let more = units::plural(more as u64, "caller", "callers");
        line(page, &format!("({more} more)"), "");
    }
}

fn line(page: &mut Page, function: &str, location: &str) {
    let columns = page.width() - INDENT - text::width(location);
    let left = format!("{:INDENT$}{}", "", text::left(function, columns));
    page.line(&[(&left, Style::Plain), (location, Style::Dim)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::fixture::frame;

    fn libc(function: Option<&str>) -> Frame {
        Frame {
            module: Some("/lib/libc.so.6".to_owned()),
            function: function.map(str::to_owned),
            ..Frame::default()
        }
    }

    #[test]
    fn only_the_application_is_shown() {
        let middle = [frame("f", "a.c", 1), frame("main", "a.c", 2)];
        let mut frames = vec![libc(Some("futex_wait")), libc(Some("pthread_mutex_lock"))];
        frames.extend(middle.clone());
        frames.extend([
            libc(None),
            libc(Some("__libc_start_main_impl")),
            frame("_start", "", 0),
        ]);
        assert_eq!(shown(&frames), middle);
        let all_libc = [libc(None), libc(None)];
        assert_eq!(shown(&all_libc), all_libc);
        assert_eq!(shown(&[]), []);
    }

    #[test]
    fn stacks_that_look_the_same_have_the_same_key() {
        let mut frames = vec![frame("f", "a.c", 1), frame("main", "a.c", 2)];
        let one = frames.clone();
        frames[0].offset += 4;
        frames.insert(0, libc(Some("futex_wait")));
        assert_eq!(key(&one), key(&frames));
        frames[1].line = Some(7);
        assert_ne!(key(&one), key(&frames));
        let (mut a, mut b) = (frame("f", "a.c", 1), frame("f", "a.c", 1));
        a.file = None;
        b.file = None;
        b.offset += 4;
        assert_ne!(key(&[a]), key(&[b]));
    }
}
