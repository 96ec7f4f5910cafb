//! Since when goroutines wait. Go notes it of some waits for mutexes, and of others when its garbage collector comes by; so
//! who looks more than once keeps notes of their own.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
};

use super::{
    census::{Census, Goroutine},
    goroutine::Record,
};

/// Most goroutines that are remembered.
const MAX_KNOWN: usize = 4 << 20;
/// Goroutines that are read again at once.
const BATCH: usize = 4096;
/// Reasons of waits that Go may note the beginning of; `runtime.waitReason.isMutexWait`.
const TRACKED: [&str; 3] = ["sync.Mutex.Lock", "sync.RWMutex.RLock", "sync.RWMutex.Lock"];

/// A wait: another one is another wait, though the goroutine is the same. One that has stopped running as often as before
/// has not run in between; but only the lowest byte of that number is known, so that one in 256 may deceive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Wait {
    goid: u64,
    pc: u64,
    sp: u64,
    stops: u8,
}

impl Wait {
    const fn of(record: &Record) -> Self {
        Self {
            goid: record.goid,
            pc: record.pc,
            sp: record.sp,
            stops: record.stops,
        }
    }
}

/// When waits were first seen, over many looks at one process.
#[derive(Clone, Debug, Default)]
pub struct Ages {
    first_seen: HashMap<Wait, u64>,
    /// Ends of garbage collections that goroutines of the last census remember, on the monotonic clock in nanoseconds.
    collections: BTreeSet<u64>,
}

impl Ages {
    /// Whether nothing was noted yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first_seen.is_empty()
    }

    /// Takes note of a census; waits that are not in it are forgotten.
    pub fn note(&mut self, census: &Census) {
        let collections = census.goroutines.iter().map(|g| g.record.wait_since_ns);
        self.collections = collections.collect();
        let before = std::mem::take(&mut self.first_seen);
        self.first_seen = census
            .goroutines
            .iter()
            .filter(|goroutine| goroutine.record.status.waits())
            .take(MAX_KNOWN)
            .map(|goroutine| {
                let wait = Wait::of(&goroutine.record);
                let since = before.get(&wait).copied().unwrap_or(census.at_ns);
                (wait, since)
            })
            .collect();
    }

    /// Forgets those of the waits in `census` that are over by now. Who waits often, and each time at the same place, is
    /// found out by a look soon after the last one: it moves in between, and not just 256 times.
    pub fn confirm(&mut self, census: &Census) {
        let older = census.goroutines.iter().filter(|goroutine| {
            let first = self.seen(goroutine);
            first.is_some_and(|first| first < census.at_ns)
        });
        let older: Vec<Record> = older.map(|goroutine| goroutine.record).collect();
        for batch in older.chunks(BATCH) {
            for (record, again) in batch.iter().zip(census.again(batch)) {
                let same = again.is_some_and(|again| record.is_same_wait(&again));
                if !same {
                    self.first_seen.remove(&Wait::of(record));
                }
            }
        }
    }

    /// Takes what is known better of those that wait at the time of `census`: since when on the monotonic clock, where
    /// `since` tells.
    pub fn learn(&mut self, census: &Census, since: impl Fn(&Goroutine) -> Option<u64>) {
        for goroutine in &census.goroutines {
            let first = self.first_seen.get_mut(&Wait::of(&goroutine.record));
            let known = since(goroutine).filter(|since| *since <= census.at_ns);
            if let (Some(first), Some(known)) = (first, known) {
                *first = known;
            }
        }
    }

    /// For how long at least a goroutine waits, in nanoseconds, at the time of `census`; `None` when it does not wait, or
    /// was not seen waiting before.
    #[must_use]
    pub fn age_ns(&self, census: &Census, goroutine: &Goroutine) -> Option<u64> {
        let record = &goroutine.record;
        record.status.waits().then_some(())?;
        let is_tracked = TRACKED.contains(&census.reason(goroutine));
        let noted = [
            self.collected(record.wait_since_ns),
            if is_tracked { record.mutex_since_ns } else { 0 },
        ];
        let noted = noted.into_iter().filter(|since| *since != 0);
        let since = noted.chain(self.seen(goroutine)).min()?;
        Some(census.at_ns.saturating_sub(since)).filter(|age| *age > 0)
    }

    /// Since when one waits at the latest whom the collector has noted with this; 0 when it cannot be told. What it notes is
    /// the end of the collection before the one that came by (`work.tstart`, set at the end of each): the wait may have begun
    /// long after that, but not after the next end.
    fn collected(&self, noted_ns: u64) -> u64 {
        let behind = (Bound::Excluded(noted_ns), Bound::Unbounded);
        match noted_ns {
            0 => 0,
            _ => self.collections.range(behind).next().copied().unwrap_or(0),
        }
    }

    fn seen(&self, goroutine: &Goroutine) -> Option<u64> {
        self.first_seen.get(&Wait::of(&goroutine.record)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collector_notes_the_end_before_the_last() {
        let ages = Ages {
            collections: BTreeSet::from([0, 100, 250]),
            ..Ages::default()
        };
        let noted = [0, 100, 250].map(|noted_ns| ages.collected(noted_ns));
        assert_eq!(noted, [0, 250, 0]);
    }
}
