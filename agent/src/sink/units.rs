//! Numbers for people. Values are cut, not rounded up: `999.9 us` never reads as `1000 us`.

/// A duration in at most 7 columns: `840 ns`, `1.20 ms`, `9.81 s`, `1m 12s`, `2h 05m`, `3d 04h`, `213503d`.
#[must_use]
pub fn duration(ns: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    let seconds = ns / SECOND;
    match seconds {
        0 => match ns {
            0..1_000 => format!("{ns} ns"),
            1_000..1_000_000 => format!("{} us", significant(ns, 1_000)),
            _ => format!("{} ms", significant(ns, 1_000_000)),
        },
        1..60 => format!("{} s", significant(ns, SECOND)),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds / 60 % 60),
        86_400..8_640_000 => format!("{}d {:02}h", seconds / 86_400, seconds / 3_600 % 24),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A count in at most 7 columns: `41,203`, `999,999`, `1.20M`, `18.4E`.
#[must_use]
pub fn count(n: u64) -> String {
    const SCALES: [(u64, char); 5] = [
        (1_000_000, 'M'),
        (1_000_000_000, 'G'),
        (1_000_000_000_000, 'T'),
        (1_000_000_000_000_000, 'P'),
        (1_000_000_000_000_000_000, 'E'),
    ];
    match SCALES.iter().rev().find(|&&(scale, _)| n >= scale) {
        Some(&(scale, letter)) => format!("{}{letter}", significant(n, scale)),
        None if n >= 1_000 => format!("{},{:03}", n / 1_000, n % 1_000),
        None => n.to_string(),
    }
}

/// A number of bytes in at most 8 columns: `512 B`, `4.00 KiB`, `120 MiB`.
#[must_use]
pub fn bytes(n: u64) -> String {
    const UNITS: [(u32, &str); 6] = [
        (60, "EiB"),
        (50, "PiB"),
        (40, "TiB"),
        (30, "GiB"),
        (20, "MiB"),
        (10, "KiB"),
    ];
    match UNITS.iter().find(|&&(shift, _)| n >> shift > 0) {
        Some(&(shift, unit)) => format!("{} {unit}", significant(n, 1 << shift)),
        None => format!("{n} B"),
    }
}

/// A number that need not be whole: `0`, `0.03`, `4.82`, `36.6`, `120`, `41,203`.
#[must_use]
pub fn decimal(x: f64) -> String {
    let hundredths = (x.clamp(0.0, 1e15) * 100.0).round() as u64;
    match hundredths {
        0 => "0".to_owned(),
        1..100_000 => significant(hundredths, 100),
        _ => count(hundredths / 100),
    }
}

/// `value / scale` with three significant digits, for quotients from 1 to 999.
fn significant(value: u64, scale: u64) -> String {
    let whole = value / scale;
    let rest = u128::from(value % scale);
    let hundredths = rest * 100 / u128::from(scale);
    match whole {
        0..10 => format!("{whole}.{hundredths:02}"),
        10..100 => format!("{whole}.{}", hundredths / 10),
        _ => whole.to_string(),
    }
}

/// A share in at most 4 columns: `62%`, `<1%`, `100%`.
#[must_use]
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    match u128::from(part) * 100 / u128::from(whole) {
        0 if part > 0 => "<1%".to_owned(),
        share => format!("{share}%"),
    }
}

/// `1 wait`, `2 waits`.
#[must_use]
pub fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 us"),
            (999_999, "999 us"),
            (1_234_567, "1.23 ms"),
            (12_345_678, "12.3 ms"),
            (9_810_000_000, "9.81 s"),
            (59_999_999_999, "59.9 s"),
            (72_000_000_000, "1m 12s"),
            (7_500_000_000_000, "2h 05m"),
            (273_600_000_000_000, "3d 04h"),
            (u64::MAX, "213503d"),
        ] {
            assert_eq!(duration(ns), text);
            assert!(text.len() <= 7);
        }
    }

    #[test]
    fn counts() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (999_999, "999,999"),
            (1_200_000, "1.20M"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(count(n), text);
        }
        assert_eq!(plural(1, "wait", "waits"), "1 wait");
        assert_eq!(plural(0, "wait", "waits"), "0 waits");
    }

    #[test]
    fn sizes() {
        for (n, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (4096, "4.00 KiB"),
            (120 << 20, "120 MiB"),
            ((1 << 30) - 1, "1023 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(bytes(n), text);
            assert!(text.len() <= 8);
        }
    }

    #[test]
    fn decimals() {
        for (x, text) in [
            (0.0, "0"),
            (0.004, "0"),
            (0.034, "0.03"),
            (4.82, "4.82"),
            (36.66, "36.6"),
            (999.994, "999"),
            (1000.0, "1,000"),
            (f64::NAN, "0"),
            (-1.0, "0"),
            (f64::INFINITY, "1.00P"),
        ] {
            assert_eq!(decimal(x), text, "{x}");
        }
    }

    #[test]
    fn shares() {
        assert_eq!(percent(0, 10), "0%");
        assert_eq!(percent(1, 1_000), "<1%");
        assert_eq!(percent(u64::MAX, u64::MAX), "100%");
        assert_eq!(percent(3, 0), "-");
    }
}
