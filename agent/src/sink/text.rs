//! Text that is safe to print: names come from targets and may hold escape sequences or be very long.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar as _;

/// Stands for every character that has no place in a line of text.
const REPLACEMENT: &str = "\u{fffd}";

/// Replaces what would move the cursor, hide itself or reorder the line (control, zero-width and bidirectional
/// characters, line separators). What is left takes one or two columns each.
#[must_use]
pub fn sanitise(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c: char| {
        matches!(c, '\u{2028}' | '\u{2029}' | '\u{ad}') || matches!(c.width(), None | Some(0))
    };
    if text.contains(is_unsafe) {
        text.replace(is_unsafe, REPLACEMENT).into()
    } else {
        text.into()
    }
}

/// Columns that sanitised text takes.
#[must_use]
pub fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    c.width().unwrap_or(1)
}

/// Sanitises and cuts the end off what is wider than `columns`.
#[must_use]
pub fn truncate_end(text: &str, columns: usize) -> String {
    let text = sanitise(text);
    if width(&text) <= columns {
        return text.into_owned();
    }
    let mut kept = head(&text, columns.saturating_sub(1));
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// Sanitises and cuts the middle out of what is wider than `columns`: the start of a qualified name says where it
/// belongs and its end what it is.
#[must_use]
pub fn truncate_middle(text: &str, columns: usize) -> String {
    let text = sanitise(text);
    if width(&text) <= columns {
        return text.into_owned();
    }
    let Some(room) = columns.checked_sub(1) else {
        return String::new();
    };
    // The end is the more telling part.
    let head_columns = room * 2 / 5;
    let mut shortened = head(&text, head_columns);
    shortened.push('…');
    shortened.push_str(tail(&text, room - width(&shortened).saturating_sub(1)));
    shortened
}

/// Shortens a demangled function name: drops Rust's hash, then as needed the parameter list, type arguments and at last
/// the middle.
#[must_use]
pub fn shorten_function(name: &str, columns: usize) -> String {
    let name = without_hash(name);
    if width(name) <= columns {
        return truncate_middle(name, columns);
    }
    let name = without_parameters(name);
    if width(name) <= columns {
        return truncate_middle(name, columns);
    }
    truncate_middle(&without_type_arguments(name), columns)
}

/// `Store<std::string, Lru<int>>::put` as `Store<…>::put`. Only lists that follow a name are types' arguments: Rust's
/// `<T as Trait>::f` and C++'s `operator<` stay, as does everything when brackets do not match.
fn without_type_arguments(name: &str) -> Cow<'_, str> {
    let mut short = String::new();
    let mut depth = 0_usize;
    let mut previous = ' ';
    for c in name.chars() {
        match c {
            '<' if depth > 0 => depth += 1,
            '<' if (previous.is_alphanumeric() || previous == '_' || short.ends_with("::"))
                && !short.ends_with("operator") =>
            {
                depth = 1;
                short.push_str("<…>");
            }
            // Not the arrow of a function type.
            '>' if depth > 0 && previous != '-' => depth -= 1,
            _ if depth == 0 => short.push(c),
            _ => {}
        }
        previous = c;
    }
    if depth == 0 {
        short.into()
    } else {
        name.into()
    }
}

/// `path::function::h0123456789abcdef` without its last part.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            path
        }
        _ => name,
    }
}

/// `f(int, g(*)())` as `f`; names that do not end in a parameter list stay as they are.
fn without_parameters(name: &str) -> &str {
    let trimmed = name.strip_suffix(" const").unwrap_or(name);
    if !trimmed.ends_with(')') {
        return name;
    }
    let mut depth = 0_usize;
    for (index, byte) in trimmed.bytes().enumerate().rev() {
        match byte {
            b')' => depth += 1,
            b'(' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return match trimmed.get(..index) {
                Some(short) if !short.is_empty() => short,
                _ => name,
            };
        }
    }
    name
}

fn head(text: &str, columns: usize) -> String {
    let mut used = 0;
    text.chars()
        .take_while(|&c| {
            used += char_width(c);
            used <= columns
        })
        .collect()
}

fn tail(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let start = text
        .char_indices()
        .rev()
        .take_while(|&(_, c)| {
            used += char_width(c);
            used <= columns
        })
        .last()
        .map_or(text.len(), |(index, _)| index);
    text.get(start..).unwrap_or_default()
}

/// Pads to the right, so that the text is left-aligned; longer text stays as it is.
#[must_use]
pub fn left(text: &str, columns: usize) -> String {
    let padding = columns.saturating_sub(width(text));
    format!("{text}{:padding$}", "")
}

/// Pads to the left, so that the text is right-aligned; longer text stays as it is.
#[must_use]
pub fn right(text: &str, columns: usize) -> String {
    let padding = columns.saturating_sub(width(text));
    format!("{:padding$}{text}", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_invisible_characters_are_replaced() {
        assert_eq!(sanitise("plain ünï 漢"), "plain ünï 漢");
        assert_eq!(
            sanitise("a\x1b[31mb\nc\td\u{202e}e\u{200b}f\u{2028}g"),
            "a\u{fffd}[31mb\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}f\u{fffd}g"
        );
        assert_eq!(sanitise(REPLACEMENT), "\u{fffd}");
    }

    #[test]
    fn middle_keeps_both_ends() {
        assert_eq!(truncate_middle("abcdefghijklmnop", 11), "abcd…klmnop");
        assert_eq!(truncate_middle("abc", 3), "abc");
        assert_eq!(truncate_middle("abcd", 1), "…");
        assert_eq!(truncate_middle("abcd", 0), "");
        // A wide character that does not fit leaves its column to the other end.
        assert_eq!(truncate_middle("漢字漢字漢字", 6), "漢…字");
        assert_eq!(truncate_end("漢字漢字", 4), "漢…");
    }

    #[test]
    fn functions_lose_noise_first() {
        let rust = "core::ops::function::FnOnce::call_once::h0123456789abcdef";
        assert_eq!(
            shorten_function(rust, 80),
            "core::ops::function::FnOnce::call_once"
        );
        let cpp = "cache::Store::get(std::string const&, void (*)(int)) const";
        assert_eq!(shorten_function(cpp, 80), cpp);
        assert_eq!(shorten_function(cpp, 30), "cache::Store::get");
        assert_eq!(
            shorten_function("(anonymous namespace)::f", 12),
            "(ano…ace)::f"
        );
        assert_eq!(shorten_function("))))((((", 4), ")…((");
        assert_eq!(shorten_function("abcdef()", 3), "…ef");
        let generic = "a::B<C, D<E>>::f<fn() -> G>";
        assert_eq!(shorten_function(generic, 27), generic);
        assert_eq!(shorten_function(generic, 26), "a::B<…>::f<…>");
        assert_eq!(
            shorten_function("<Type as Trait>::method", 14),
            "<Type…::method"
        );
        assert_eq!(shorten_function("n::operator<<type>", 12), "n::o…<<type>");
    }
}
