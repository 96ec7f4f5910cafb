//! A page of text: the one place that writes lines. It sanitises, cuts what is too wide and colours.

use crate::sink::text;

use super::{MAX_WIDTH, MIN_WIDTH, Options};

/// How a piece of a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// What names something.
    Bold,
    /// What matters less.
    Dim,
    /// What is wrong right now.
    Alarm,
}

impl Style {
    const fn escape(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("\x1b[1m"),
            Self::Dim => Some("\x1b[2m"),
            Self::Alarm => Some("\x1b[1;31m"),
        }
    }
}

/// A piece of a line.
pub type Span<'a> = (&'a str, Style);

/// Lines written so far.
#[derive(Debug)]
pub struct Page {
    text: String,
    width: usize,
    colour: bool,
    guessed: bool,
}

/// Columns of the labels at the left of detail lines, with their indentation.
const LABEL: usize = 11;

impl Page {
    /// An empty page.
    pub fn new(options: &Options) -> Self {
        Self {
            text: String::new(),
            width: options.width.clamp(MIN_WIDTH, MAX_WIDTH),
            colour: options.colour,
            guessed: false,
        }
    }

    /// Columns of a line.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Columns of a detail line's text.
    pub const fn detail_width(&self) -> usize {
        self.width - LABEL
    }

    /// Notes that a guessed frame was shown, which the footer explains.
    pub const fn note_guessed(&mut self) {
        self.guessed = true;
    }

    /// Whether a guessed frame was shown.
    pub const fn has_guessed(&self) -> bool {
        self.guessed
    }

    /// Writes a line.
    pub fn line(&mut self, spans: &[Span<'_>]) {
        let mut room = self.width;
        let start = self.text.len();
        for &(span, style) in spans {
            let span = text::truncate_end(span, room);
            room = room.saturating_sub(text::width(&span));
            match style.escape().filter(|_| self.colour && !span.is_empty()) {
                Some(escape) => {
                    self.text.push_str(escape);
                    self.text.push_str(&span);
                    self.text.push_str("\x1b[0m");
                }
                None => self.text.push_str(&span),
            }
        }
        let line = self.text.get(start..).unwrap_or_default();
        let kept = start + line.trim_end().len();
        self.text.truncate(kept);
        self.text.push('\n');
    }

    /// Writes an empty line, unless the page ends with one.
    pub fn blank(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// Writes text under a label, in as many lines as it needs.
    pub fn detail(&mut self, label: &str, content: &str, style: Style) {
        let mut label = label;
        for line in wrap(content, self.detail_width()) {
            let left = text::left(&format!("  {label}"), LABEL);
            self.line(&[(&left, Style::Dim), (&line, style)]);
            label = "";
        }
    }

    /// Writes text over the whole width, in as many lines as it needs; all but the first are indented.
    pub fn paragraph(&mut self, content: &str, style: Style) {
        let mut indent = "";
        for line in wrap(content, self.width - 2) {
            self.line(&[(indent, style), (&line, style)]);
            indent = "  ";
        }
    }

    /// The text, without empty lines at its end.
    pub fn finish(mut self) -> String {
        let kept = self.text.trim_end_matches('\n').len();
        self.text.truncate(kept);
        self.text.push('\n');
        self.text
    }
}

/// Most lines that one text is given.
const MAX_LINES: usize = 16;

/// Breaks text at spaces; a word that is too long alone is cut in the middle. Text beyond [`MAX_LINES`] is dropped with
/// an ellipsis, since it comes from outside.
fn wrap(content: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in content.split(' ') {
        let word = text::truncate_middle(word, columns);
        if !line.is_empty() && text::width(&line) + 1 + text::width(&word) > columns {
            if lines.len() + 1 == MAX_LINES {
                line = text::truncate_end(&format!("{line} {word}"), columns);
                lines.push(line);
                return lines;
            }
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(colour: bool) -> Page {
        Page::new(&Options {
            width: 0,
            colour,
            top: 1,
        })
    }

    #[test]
    fn lines_are_cut_at_the_width() {
        let mut page = page(false);
        page.line(&[(&"x".repeat(79), Style::Plain), ("漢字", Style::Bold)]);
        assert_eq!(page.finish(), format!("{}…\n", "x".repeat(79)));
    }

    #[test]
    fn colours_take_no_room_and_targets_cannot_add_any() {
        let mut page = page(true);
        page.line(&[("a\x1b[1m", Style::Alarm), (&"b".repeat(76), Style::Plain)]);
        assert_eq!(
            page.finish(),
            format!("\x1b[1;31ma\u{fffd}[1m\x1b[0m{}\n", "b".repeat(74) + "…")
        );
    }

    #[test]
    fn details_wrap_under_their_label() {
        let mut page = page(false);
        page.detail("holder", "word ".repeat(20).trim_end(), Style::Plain);
        let words = |n| vec!["word"; n].join(" ");
        assert_eq!(
            page.finish(),
            format!("  holder   {}\n           {}\n", words(14), words(6))
        );
    }

    #[test]
    fn endless_text_ends() {
        let lines = wrap(&"0123456789 ".repeat(1_000), 20);
        assert_eq!(lines.len(), MAX_LINES);
        assert!(lines.last().unwrap().ends_with('…'));
        assert!(lines.iter().all(|line| text::width(line) <= 20));
    }
}
