//! Function names as the rules compare them.

use crate::model::Frame;

/// Longest function name that is looked at; templates can make them arbitrarily long, and a target can lie.
const MAX_NAME: usize = 512;

/// What compilers append to copies of a function.
const CLONES: &[&str] = &[
    ".constprop.",
    ".part.",
    ".isra.",
    ".cold",
    ".llvm.",
    ".lto_priv.",
];

/// One frame of a wait's machinery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    /// Name without version, clone suffix, hash and return type; empty when no symbol covers the address.
    pub(super) name: &'a str,
    /// File name of the module; empty without one.
    pub(super) module: &'a str,
}

impl<'a> Call<'a> {
    pub(super) fn of(frame: &'a Frame) -> Self {
        Self {
            name: frame.function.as_deref().map_or("", plain),
            module: frame.module.as_deref().map_or("", base_name),
        }
    }

    /// The name of a C function without leading underscores and glibc's internal alias prefix.
    pub(super) fn c_name(&self) -> &'a str {
        let name = self.name.trim_start_matches('_');
        name.strip_prefix("GI_")
            .or_else(|| name.strip_prefix("interceptor_"))
            .unwrap_or(name)
            .trim_start_matches('_')
    }

    /// Last segment of a Rust path or C++ name, without arguments: `lock_slow`.
    pub(super) fn last(&self) -> &'a str {
        let name = self
            .name
            .split_once('(')
            .map_or(self.name, |(head, _)| head);
        name.rsplit("::").next().unwrap_or(name)
    }

    /// Whether the call is in a module whose file name begins with one of these.
    pub(super) fn in_module(&self, prefixes: &[&str]) -> bool {
        prefixes
            .iter()
            .any(|prefix| self.module.starts_with(prefix))
    }
}

/// File name part of a path.
pub(super) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Strips what tools append to or put before a name: `@@GLIBC_2.34`, `.constprop.0`, ` [clone .cold]`,
/// `::h0123456789abcdef`, the return type of a C++ template, and the `<` of Rust's `<Type as Trait>::method`.
fn plain(name: &str) -> &str {
    let name = match name.char_indices().nth(MAX_NAME) {
        Some((end, _)) => name.get(..end).unwrap_or(name),
        None => name,
    };
    let name = name.split_once('@').map_or(name, |(head, _)| head);
    let name = name.split_once(" [clone").map_or(name, |(head, _)| head);
    // Go's names have dots of their own.
    let name = CLONES.iter().fold(name, |name, suffix| {
        name.split_once(suffix).map_or(name, |(head, _)| head)
    });
    let name = match name.rsplit_once("::h") {
        Some((head, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            head
        }
        _ => name,
    };
    if let Some(inner) = name.strip_prefix('<') {
        return inner.trim_start_matches(['<', '&']);
    }
    let head = name.find(['(', '<']).unwrap_or(name.len());
    match name.get(..head).and_then(|head| head.rfind(' ')) {
        Some(space) => name.get(space + 1..).unwrap_or(name),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn names_lose_their_decoration() {
        for (given, expected) in [
            ("pthread_mutex_lock@@GLIBC_2.34", "pthread_mutex_lock"),
            ("do_futex_wait.constprop.0", "do_futex_wait"),
            ("pthread_cond_wait [clone .cold]", "pthread_cond_wait"),
            ("std::thread::park::h0123456789abcdef", "std::thread::park"),
            ("std::thread::hidden", "std::thread::hidden"),
            (
                "void std::call_once<main::{lambda()#1}>(std::once_flag&)",
                "std::call_once<main::{lambda()#1}>(std::once_flag&)",
            ),
            (
                "<parking_lot::raw_mutex::RawMutex as lock_api::mutex::RawMutex>::lock",
                "parking_lot::raw_mutex::RawMutex as lock_api::mutex::RawMutex>::lock",
            ),
            ("", ""),
            (".", "."),
            ("runtime.futex.abi0", "runtime.futex.abi0"),
        ] {
            assert_eq!(plain(given), expected);
        }
    }
}
