//! Names for people: bounded, printable, without the parts that only a linker needs.

/// Longest name, in bytes.
const MAX_NAME: usize = 512;
/// Longest path, in bytes.
const MAX_PATH: usize = 1024;

/// A demangled function or variable name as it is shown.
pub fn symbol(name: &str) -> String {
    printable(without_hash(name), MAX_NAME)
}

/// A path as it is shown.
pub fn path(path: &str) -> String {
    printable(path, MAX_PATH)
}

/// Cuts off `::h0123456789abcdef`, which Rust's legacy mangling appends.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((path, hash))
            if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
        {
            path
        }
        _ => name,
    }
}

fn printable(text: &str, limit: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(limit));
    for letter in text.chars() {
        // Also what turns the writing direction: it can make one name look like another.
        let direction = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let letter = if letter.is_control() || direction {
            '\u{fffd}'
        } else {
            letter
        };
        if clean.len() + letter.len_utf8() + '…'.len_utf8() > limit {
            clean.push('…');
            break;
        }
        clean.push(letter);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_only_hashes() {
        assert_eq!(
            symbol("std::sync::Mutex<T>::lock::h0123456789abcdef"),
            "std::sync::Mutex<T>::lock"
        );
        assert_eq!(symbol("app::hash"), "app::hash");
        assert_eq!(symbol("app::h0123456789abcdeg"), "app::h0123456789abcdeg");
    }

    #[test]
    fn bounds_and_cleans() {
        assert_eq!(
            symbol("a\n\x1b[31mb\u{202e}"),
            "a\u{fffd}\u{fffd}[31mb\u{fffd}"
        );
        let long = symbol(&"é".repeat(10_000));
        assert!(long.len() <= MAX_NAME && long.ends_with('…'));
    }
}
