//! What to call a lock, a kind and a frame in a report.

use crate::model::{Frame, Kind, Lock};

/// The readable name of a lock: its symbol, else where it is waited for, else its address.
#[must_use]
pub fn lock(lock: &Lock) -> String {
    lock.symbol
        .as_ref()
        .or(lock.site.as_ref())
        .cloned()
        .unwrap_or_else(|| format!("{:#x}", lock.address))
}

/// A kind in words.
#[must_use]
pub const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::RwlockRead => "rwlock read",
        Kind::RwlockWrite => "rwlock write",
        other => other.as_str(),
    }
}

/// A frame's function, else `module+0x10`, else its address.
#[must_use]
pub fn function(frame: &Frame) -> String {
    match (&frame.function, &frame.module) {
        (Some(function), _) => function.clone(),
        (None, Some(module)) => format!("{}+{:#x}", base(module), frame.offset),
        (None, None) => format!("{:#x}", frame.offset),
    }
}

/// Where a frame's code is: `file.c:12`, else `module+0x10`; empty when [`function()`] already says so.
#[must_use]
pub fn location(frame: &Frame) -> String {
    match (&frame.file, frame.line, &frame.module) {
        (Some(file), Some(line), _) => format!("{}:{line}", base(file)),
        (Some(file), None, _) => base(file).to_owned(),
        (None, _, Some(module)) if frame.function.is_some() => {
            format!("{}+{:#x}", base(module), frame.offset)
        }
        _ => String::new(),
    }
}

/// A frame in one word: `file.c:12`, else its function, else `module+0x10`.
#[must_use]
pub fn word(frame: &Frame) -> String {
    match frame.file {
        Some(_) => location(frame),
        None => function(frame),
    }
}

/// Last part of a path; the whole of one that ends in a slash.
#[must_use]
pub fn base(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some((_, name)) if !name.is_empty() => name,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_without_a_symbol_is_named_by_its_module_once() {
        let mut frame = Frame {
            module: Some("/usr/lib/libfoo.so".to_owned()),
            offset: 0x1234,
            ..Frame::default()
        };
        assert_eq!(function(&frame), "libfoo.so+0x1234");
        assert_eq!(location(&frame), "");
        frame.function = Some("foo".to_owned());
        assert_eq!(function(&frame), "foo");
        assert_eq!(word(&frame), "foo");
        assert_eq!(location(&frame), "libfoo.so+0x1234");
        frame.file = Some("/src/foo.c".to_owned());
        frame.line = Some(3);
        assert_eq!(location(&frame), "foo.c:3");
        assert_eq!(word(&frame), "foo.c:3");
        assert_eq!(function(&Frame::default()), "0x0");
    }

    #[test]
    fn base_names() {
        assert_eq!(base("/a/b"), "b");
        assert_eq!(base("b"), "b");
        assert_eq!(base("/a/"), "/a/");
    }
}
