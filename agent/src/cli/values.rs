//! Values on the command line: times with a unit, sizes with a unit.

use std::{fmt, str::FromStr, time::Duration};

/// A length of time: `500ms`, `10s`, `2m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Duration);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("a unit is missing: {text}s or {text}ms?"));
        }
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// A number of bytes: `65536`, `64KiB`, `8MiB`, `1GiB`; `64K` means `64KiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// Units from the greatest.
const UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim_start();
        let scale = UNITS.iter().find_map(|&(name, scale)| {
            let matches = unit.eq_ignore_ascii_case(name)
                || name
                    .get(..1)
                    .is_some_and(|short| unit.eq_ignore_ascii_case(short))
                || (scale == 1 && unit.is_empty());
            matches.then_some(scale)
        });
        let bytes = number.parse::<u64>().ok().zip(scale);
        bytes
            .and_then(|(number, scale)| number.checked_mul(scale))
            .map(Self)
            .ok_or_else(|| "not a size such as 65536, 64KiB or 8MiB".to_owned())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS
            .iter()
            .find(|&&(_, scale)| self.0 >= scale && self.0.is_multiple_of(scale));
        let &(name, scale) = unit.unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / scale)
    }
}

/// `worse:20`: a lock that has become worse by more than 20 percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worse(pub u32);

impl FromStr for Worse {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix("worse:")
            .and_then(|percent| percent.strip_suffix('%').unwrap_or(percent).parse().ok())
            .map(Self)
            .ok_or_else(|| "not worse:PERCENT, such as worse:20".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, ms) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("2m", 120_000),
            ("1m 30s", 90_000),
        ] {
            assert_eq!(text.parse(), Ok(Time(Duration::from_millis(ms))));
        }
        assert_eq!(Time(Duration::from_secs(10)).to_string(), "10s");
        let error = |text: &str| text.parse::<Time>().unwrap_err();
        assert_eq!(error("10"), "a unit is missing: 10s or 10ms?");
        assert!(!error("").is_empty());
        assert!(!error("-1s").is_empty());
        assert!(!error("99999999999999999999s").is_empty());
    }

    #[test]
    fn findings() {
        assert_eq!("worse:20".parse(), Ok(Worse(20)));
        assert_eq!("worse:0%".parse(), Ok(Worse(0)));
        for text in ["", "worse", "worse:", "worse:-1", "worse:x", "better:20"] {
            assert!(text.parse::<Worse>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65_536),
            ("64K", 65_536),
            ("64kib", 65_536),
            ("8 MiB", 8 << 20),
            ("7B", 7),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)));
        }
        for text in ["", "MiB", "8MB", "-1", "1.5MiB", "99999999999GiB", "8MiBé"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        assert_eq!(Size(8 << 20).to_string(), "8MiB");
        assert_eq!(Size(1000).to_string(), "1000B");
        assert_eq!(Size(0).to_string(), "0B");
    }
}
