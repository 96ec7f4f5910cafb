//! How long a system call waits at most.

use serde::{Deserialize, Serialize};

use super::call::Limit;
use crate::proc::memory::Memory;

const SECOND_NS: u64 = 1_000_000_000;

/// A limit on a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timeout {
    /// A span from the call's beginning, in nanoseconds.
    Span(u64),
    /// A moment, as what was left of it when it was read, in nanoseconds.
    Left(u64),
}

/// Reads the limit; `None` when there is none or when it cannot be read.
pub(super) fn decode(limit: Limit, arguments: &[u64; 6], memory: &impl Memory) -> Option<Timeout> {
    let argument = |index: usize| arguments.get(index).copied().unwrap_or(0);
    match limit {
        Limit::Never => None,
        Limit::Millis(index) => {
            // An `int`: negative means for ever.
            let millis = argument(index) & u64::from(u32::MAX);
            (millis <= u64::from(i32::MAX.cast_unsigned()))
                .then(|| Timeout::Span(millis * 1_000_000))
        }
        Limit::Span(index) => time(memory, argument(index), 1).map(Timeout::Span),
        Limit::Timeval(index) => time(memory, argument(index), 1000).map(Timeout::Span),
        Limit::Moment(index, clock) => left(memory, argument(index), clock),
        Limit::ClockSleep => {
            const TIMER_ABSTIME: u64 = 1;
            if argument(1) & TIMER_ABSTIME == 0 {
                return time(memory, argument(2), 1).map(Timeout::Span);
            }
            left(memory, argument(2), i32::try_from(argument(0)).ok()?)
        }
        Limit::Futex => {
            const WAIT: u64 = 0;
            const WAKES: [u64; 5] = [1, 3, 4, 5, 7];
            const REALTIME: u64 = 256;
            let operation = argument(1) & 0x7f;
            if WAKES.contains(&operation) {
                return None;
            }
            if operation == WAIT {
                return time(memory, argument(3), 1).map(Timeout::Span);
            }
            // FUTEX_LOCK_PI (6) always uses the wall clock.
            let clock = if argument(1) & REALTIME != 0 || operation == 6 {
                libc::CLOCK_REALTIME
            } else {
                libc::CLOCK_MONOTONIC
            };
            left(memory, argument(3), clock)
        }
    }
}

/// A time of two words, seconds and a fraction in units of `unit` nanoseconds. The null pointer means for ever.
fn time(memory: &impl Memory, address: u64, unit: u64) -> Option<u64> {
    if address == 0 {
        return None;
    }
    let seconds = memory.u64(address)?;
    let fraction = memory.u64(address.checked_add(8)?)?;
    // What the kernel would refuse was changed since, or never was a time.
    let is_valid = i64::try_from(seconds).is_ok() && fraction < SECOND_NS / unit;
    is_valid.then(|| {
        seconds
            .saturating_mul(SECOND_NS)
            .saturating_add(fraction * unit)
    })
}

fn left(memory: &impl Memory, address: u64, clock: libc::clockid_t) -> Option<Timeout> {
    let moment = time(memory, address, 1)?;
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a timespec, which the call fills; a clock that does not exist is an error.
    if unsafe { libc::clock_gettime(clock, &mut now) } != 0 {
        return None;
    }
    let seconds = u64::try_from(now.tv_sec).ok()?;
    let now = seconds
        .saturating_mul(SECOND_NS)
        .saturating_add(u64::try_from(now.tv_nsec).ok()?);
    Some(Timeout::Left(moment.saturating_sub(now)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::memory::Copied;

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn spans() {
        let bytes = words(&[3, 500_000]);
        let memory = Copied {
            base: 64,
            bytes: &bytes,
        };
        let at = |limit| decode(limit, &[64, 0, 64, u64::MAX, 1500, 0], &memory);
        assert_eq!(at(Limit::Span(0)), Some(Timeout::Span(3_000_500_000)));
        assert_eq!(at(Limit::Timeval(0)), Some(Timeout::Span(3_500_000_000)));
        assert_eq!(at(Limit::ClockSleep), Some(Timeout::Span(3_000_500_000)));
        assert_eq!(at(Limit::Span(5)), None);
        assert_eq!(at(Limit::Millis(3)), None);
        assert_eq!(at(Limit::Millis(4)), Some(Timeout::Span(1_500_000_000)));
        assert_eq!(at(Limit::Never), None);
    }

    #[test]
    fn nonsense_is_no_time() {
        for bytes in [words(&[1, SECOND_NS]), words(&[u64::MAX, 0]), words(&[1])] {
            let memory = Copied {
                base: 64,
                bytes: &bytes,
            };
            assert_eq!(time(&memory, 64, 1), None);
        }
    }

    proptest! {
        #[test]
        fn any_memory(
            limit in prop_oneof![
                (0..8_usize).prop_map(Limit::Millis),
                (0..8_usize).prop_map(Limit::Span),
                (0..8_usize, any::<i32>()).prop_map(|(at, clock)| Limit::Moment(at, clock)),
                (0..8_usize).prop_map(Limit::Timeval),
                Just(Limit::ClockSleep),
                Just(Limit::Futex),
            ],
            arguments in proptest::array::uniform6(prop_oneof![Just(64_u64), Just(0), Just(1), any::<u64>()]),
            bytes in proptest::collection::vec(any::<u8>(), 0..24),
        ) {
            let memory = Copied { base: 64, bytes: &bytes };
            let found = decode(limit, &arguments, &memory);
            // What is not all there is no time.
            let is_number = matches!(limit, Limit::Millis(_));
            prop_assert!(bytes.len() >= 16 || is_number || found.is_none());
        }
    }

    #[test]
    fn moments_of_any_clock() {
        let bytes = words(&[u64::MAX >> 1, 0]);
        let memory = Copied {
            base: 64,
            bytes: &bytes,
        };
        let far = left(&memory, 64, libc::CLOCK_MONOTONIC);
        assert!(matches!(far, Some(Timeout::Left(ns)) if ns > 1 << 60));
        assert_eq!(left(&memory, 64, 12345), None);
    }
}
