//! Since when those wait who wait for longest. Go notes that for one wait in eight; who looks several times a second notes
//! the rest. A goroutine that comes back is not mistaken for one that has stayed: it counts how often it has stopped
//! running.
//!
//! What the garbage collector notes (`waitsince`) does not count: it is the time of the collection before the one that came
//! by, so that a wait which has just begun may seem to be minutes old.

use std::collections::HashMap;

use crate::runtime::go::Record;

/// A wait: record and number of the goroutine, and how often it had stopped.
type Wait = (u64, u64, u8);

/// Since when, in nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Since {
    /// The time.
    pub ns: u64,
    /// It may be longer.
    pub is_at_least: bool,
}

/// What was noted of the first waiters of one lock.
#[derive(Clone, Debug, Default)]
pub struct Notes(HashMap<Wait, Since>);

impl Notes {
    /// Takes note of the first waiters, who came first first, as they are at `now_ns`. `is_lock` tells by the number of a
    /// wait reason whether it is one whose begin the runtime notes. Returns since when the longest one waits.
    pub fn take<'a>(
        &mut self,
        waiters: impl Iterator<Item = &'a Record>,
        is_lock: impl Fn(u8) -> bool,
        now_ns: u64,
    ) -> Option<Since> {
        let before = std::mem::take(&mut self.0);
        let mut oldest: Option<Since> = None;
        for (place, record) in waiters.enumerate() {
            let wait = (record.address, record.goid, record.stops);
            let noted = before.get(&wait).copied();
            let since = since(record, is_lock(record.reason), now_ns);
            let since = noted.map_or(since, |noted| noted.min(since));
            self.0.insert(wait, since);
            // Whoever stands before one who waits since then has waited for longer.
            let of_first = Since {
                is_at_least: since.is_at_least || place > 0,
                ..since
            };
            oldest = Some(oldest.map_or(of_first, |oldest| oldest.min(of_first)));
        }
        oldest
    }

    /// Nobody waits any more.
    pub fn clear(&mut self) {
        self.0 = HashMap::new();
    }
}

/// What the record alone says.
fn since(record: &Record, is_lock: bool, now_ns: u64) -> Since {
    let noted = is_lock && (1..=now_ns).contains(&record.mutex_since_ns);
    Since {
        ns: if noted { record.mutex_since_ns } else { now_ns },
        is_at_least: !noted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::go::status::Status;

    const LOCK: u8 = 1;

    fn record(address: u64, stops: u8) -> Record {
        Record {
            address,
            goid: address,
            status: Status::Waiting,
            reason: LOCK,
            wait_since_ns: 0,
            stack_lo: 0,
            stack_hi: 0,
            sp: 0,
            pc: 0,
            gopc: 0,
            startpc: 0,
            waiting: 0,
            m: 0,
            lockedm: 0,
            timer: 0,
            stops,
            mutex_since_ns: 0,
        }
    }

    fn take(notes: &mut Notes, waiters: &[Record], now_ns: u64) -> Option<(u64, bool)> {
        let since = notes.take(waiters.iter(), |reason| reason == LOCK, now_ns)?;
        Some((since.ns, since.is_at_least))
    }

    #[test]
    fn who_stays_grows_older_and_who_comes_back_does_not() {
        let mut notes = Notes::default();
        let [a, b] = [record(1, 7), record(2, 7)];
        assert_eq!(take(&mut notes, &[a, b], 100), Some((100, true)));
        assert_eq!(take(&mut notes, &[a, b], 200), Some((100, true)));
        // The first one has had its turn and stands in line again.
        assert_eq!(take(&mut notes, &[b, record(1, 8)], 300), Some((100, true)));
        let again = [record(1, 8), record(2, 9)];
        assert_eq!(take(&mut notes, &again, 400), Some((300, true)));
        assert_eq!(take(&mut notes, &[], 500), None);
        assert_eq!(take(&mut notes, &again, 600), Some((600, true)));
    }

    #[test]
    fn what_the_runtime_has_noted_counts() {
        let mut notes = Notes::default();
        let tracked = Record {
            mutex_since_ns: 40,
            ..record(2, 0)
        };
        assert_eq!(take(&mut notes, &[tracked], 100), Some((40, false)));
        // Behind another one, who has waited for longer then.
        let first = record(1, 0);
        assert_eq!(take(&mut notes, &[first, tracked], 100), Some((40, true)));
        // The time of something else, or of something that is to come.
        for never in [
            Record {
                reason: 0,
                ..tracked
            },
            Record {
                mutex_since_ns: 101,
                wait_since_ns: 30,
                ..tracked
            },
        ] {
            notes.clear();
            assert_eq!(take(&mut notes, &[never], 100), Some((100, true)));
        }
    }
}
