//! Wall-clock time as text: RFC 3339 in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// `2026-11-21T12:00:00.123Z`, to the millisecond.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    // Before the epoch or after the year 9999, humantime's Display fails; clocks of broken machines say such things.
    let last = UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_millis(time.clamp(UNIX_EPOCH, last)).to_string()
}

/// Nanoseconds since the epoch of what [`rfc3339`] wrote; `None` for anything else.
#[must_use]
pub fn parse_unix_ns(text: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(text).ok()?;
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn round_trip() {
        let time = UNIX_EPOCH + Duration::from_millis(1_795_262_400_123);
        assert_eq!(rfc3339(time), "2026-11-21T12:00:00.123Z");
        assert_eq!(
            parse_unix_ns("2026-11-21T12:00:00.123Z"),
            Some(1_795_262_400_123_000_000)
        );
        assert_eq!(parse_unix_ns("yesterday"), None);
        assert_eq!(parse_unix_ns("9999-12-31T23:59:59Z"), None);
    }

    #[test]
    fn clocks_that_are_wrong_do_not_panic() {
        assert_eq!(
            rfc3339(UNIX_EPOCH - Duration::from_secs(5)),
            "1970-01-01T00:00:00.000Z"
        );
        let far = UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(rfc3339(far), "9999-12-31T23:59:59.000Z");
    }
}
