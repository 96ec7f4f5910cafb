//! Names for people: bounded, printable, without the parts that only a linker needs.

use std::fmt::{self, Write};

/// Longest mangled name that is demangled, in bytes.
const MAX_MANGLED: usize = 8 << 10;
/// Longest demangled name before it is cut, in bytes.
const MAX_DEMANGLED: usize = 16 << 10;
/// Deepest nesting of a mangled name.
const MAX_DEPTH: u32 = 96;
/// Longest name, in bytes.
const MAX_NAME: usize = 512;
/// Longest path, in bytes.
const MAX_PATH: usize = 1024;

/// A function or variable name as it is shown: demangled, if it is a mangled one.
pub fn symbol(name: &str) -> String {
    match demangle(name) {
        Some(demangled) => printable(without_hash(&demangled), MAX_NAME),
        None => printable(without_hash(name), MAX_NAME),
    }
}

/// Only with the prefix that mangled names have: short names of C are valid C++ type codes.
fn demangle(name: &str) -> Option<String> {
    let mangled = name.starts_with("_Z") || name.starts_with("_R") || name.starts_with("__Z");
    (mangled && name.len() <= MAX_MANGLED).then_some(())?;
    let mut demangled = Bounded(String::new());
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        // The alternate form leaves out hashes. An error is the bound: what fits is good enough.
        let _ = write!(demangled, "{rust:#}");
    } else {
        let parse = cpp_demangle::ParseOptions::default().recursion_limit(MAX_DEPTH);
        let print = cpp_demangle::DemangleOptions::default().recursion_limit(MAX_DEPTH);
        let symbol = cpp_demangle::Symbol::new_with_options(name, &parse).ok()?;
        let _ = symbol.structured_demangle(&mut demangled, &print);
    }
    (!demangled.0.is_empty()).then_some(demangled.0)
}

/// Refuses more text than is shown: a short mangled name can stand for gigabytes.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_DEMANGLED {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
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
    fn demangles_only_what_is_mangled() {
        assert_eq!(symbol("f"), "f");
        assert_eq!(symbol("t"), "t");
        assert_eq!(symbol("_ZN3app5Store3putEi"), "app::Store::put(int)");
        assert_eq!(
            symbol("_ZN3std6thread4park17h0123456789abcdefE"),
            "std::thread::park"
        );
        assert_eq!(
            symbol("_RNvCskwGfYPst2Cb_3foo16example_function"),
            "foo::example_function"
        );
        assert_eq!(symbol("_Z"), "_Z");
        assert_eq!(symbol("_ZN"), "_ZN");
    }

    #[test]
    fn a_name_that_doubles_itself_is_bounded() {
        // Each template names the one before twice: 2^30 times when written out. Its number among what can be
        // referred to goes up by two: the template, and the template with its arguments.
        let digit = |value: usize| {
            char::from_digit(value as u32, 36)
                .unwrap()
                .to_ascii_uppercase()
        };
        let reference = |number: usize| match number - 1 {
            value if value < 36 => format!("S{}_", digit(value)),
            value => format!("S{}{}_", digit(value / 36), digit(value % 36)),
        };
        let mut mangled = "_Z1fI1aE1bI".to_owned();
        for step in 0..30 {
            let argument = reference(if step == 0 { 1 } else { 2 + 2 * step });
            mangled.push_str(&format!("1cI{argument}{argument}E"));
        }
        mangled.push('E');
        let name = symbol(&mangled);
        assert!(name.ends_with('…') && name.len() <= MAX_NAME, "{name}");
    }

    proptest::proptest! {
        #[test]
        fn any_mangled_name_is_survived(rest in "(_Z|_R|__Z)[0-9A-Za-z_]{0,200}") {
            proptest::prop_assert!(symbol(&rest).len() <= MAX_NAME);
        }
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
