//! Readable names for places in the code.

use crate::model::Frame;

/// `function file.c:88`, as far as it is known; `module+0x1234` without symbols.
#[must_use]
pub fn place(frame: &Frame) -> String {
    let mut place = match (&frame.function, &frame.module) {
        (Some(function), _) => function.clone(),
        (None, Some(module)) => format!("{}+{:#x}", base_name(module), frame.offset),
        (None, None) => format!("{:#x}", frame.offset),
    };
    if let Some(file) = &frame.file {
        place.push(' ');
        place.push_str(base_name(file));
        if let Some(line) = frame.line {
            place.push_str(&format!(":{line}"));
        }
    }
    place
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_named() {
        let full = Frame {
            function: Some("refresh".into()),
            file: Some("/src/cache/config.c".into()),
            line: Some(88),
            ..Default::default()
        };
        assert_eq!(place(&full), "refresh config.c:88");
        let stripped = Frame {
            module: Some("/usr/bin/app".into()),
            offset: 0x1234,
            ..Default::default()
        };
        assert_eq!(place(&stripped), "app+0x1234");
        assert_eq!(
            place(&Frame {
                offset: 0x99,
                ..Default::default()
            }),
            "0x99"
        );
    }
}
