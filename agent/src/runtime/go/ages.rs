//! Since when goroutines wait. Go notes it only when its garbage collector comes by, so who looks more than once keeps
//! notes of their own.

use std::collections::HashMap;

use super::census::{Census, Goroutine, Target};

/// Most goroutines that are remembered.
const MAX_KNOWN: usize = 4 << 20;

/// A wait: another one is another wait, though the goroutine is the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Wait {
    goid: u64,
    pc: u64,
    sp: u64,
    target: Target,
}

/// When waits were first seen, over many looks at one process.
#[derive(Clone, Debug, Default)]
pub struct Ages {
    first_seen: HashMap<Wait, u64>,
}

impl Ages {
    /// Takes note of a census; waits that are not in it are forgotten.
    pub fn note(&mut self, census: &Census) {
        let before = std::mem::take(&mut self.first_seen);
        self.first_seen = census
            .goroutines
            .iter()
            .filter(|goroutine| goroutine.record.status.waits())
            .take(MAX_KNOWN)
            .map(|goroutine| {
                let wait = wait(goroutine);
                let since = before.get(&wait).copied().unwrap_or(census.at_ns);
                (wait, since)
            })
            .collect();
    }

    /// Takes what else is known of those that wait now: since when on the monotonic clock, where `since` tells.
    pub fn learn(&mut self, census: &Census, since: impl Fn(&Goroutine) -> Option<u64>) {
        for goroutine in &census.goroutines {
            if let (Some(first), Some(since)) =
                (self.first_seen.get_mut(&wait(goroutine)), since(goroutine))
            {
                *first = since.min(*first);
            }
        }
    }

    /// For how long at least a goroutine waits, in nanoseconds, at the time of `census`; `None` when it does not wait, or
    /// was not seen waiting before.
    #[must_use]
    pub fn age_ns(&self, census: &Census, goroutine: &Goroutine) -> Option<u64> {
        let record = &goroutine.record;
        record.status.waits().then_some(())?;
        let noted = Some(record.wait_since_ns).filter(|since| *since != 0);
        let seen = self.first_seen.get(&wait(goroutine)).copied();
        let since = noted.into_iter().chain(seen).min()?;
        Some(census.at_ns.saturating_sub(since)).filter(|age| *age > 0)
    }
}

fn wait(goroutine: &Goroutine) -> Wait {
    Wait {
        goid: goroutine.record.goid,
        pc: goroutine.record.pc,
        sp: goroutine.record.sp,
        target: goroutine.target.clone(),
    }
}
