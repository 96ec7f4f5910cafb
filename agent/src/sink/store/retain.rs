//! Which bundles go when another one comes: the oldest, and no more of them than must.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use super::{Entry, Error, Settings, file};

/// Removes bundles until there is room for one of `bytes` more, and counts them. `entries` are those that there are, oldest
/// first. None is removed when that would be in vain.
pub fn make_room(
    settings: &Settings,
    entries: Vec<Entry>,
    bytes: u64,
    removed: &AtomicU64,
) -> Result<(), Error> {
    let floor_bytes = settings.min_free_bytes;
    let lacks = |free_bytes: u64| free_bytes < floor_bytes.saturating_add(bytes);
    let no_space = |free_bytes| Error::NoSpace {
        free_bytes,
        floor_bytes,
    };
    let free_bytes = file::free_bytes(&settings.directory)?;
    let ours = entries.iter().map(|entry| entry.bytes);
    if lacks(ours.fold(free_bytes, u64::saturating_add)) {
        return Err(no_space(free_bytes));
    }
    let must_go = surplus(settings, &entries, bytes, SystemTime::now());
    for (index, entry) in entries.iter().enumerate() {
        // What others do with the file system cannot be counted on: it is asked after each.
        if index >= must_go && !lacks(file::free_bytes(&settings.directory)?) {
            return Ok(());
        }
        file::remove(&settings.directory, &entry.name)?;
        removed.fetch_add(1, Ordering::Relaxed);
    }
    match file::free_bytes(&settings.directory)? {
        free_bytes if lacks(free_bytes) => Err(no_space(free_bytes)),
        _ => Ok(()),
    }
}

/// Removes bundles that are too old, and counts them.
pub fn sweep(settings: &Settings, entries: &[Entry], removed: &AtomicU64) -> Result<(), Error> {
    for entry in entries
        .iter()
        .take(too_old(settings, entries, SystemTime::now()))
    {
        file::remove(&settings.directory, &entry.name)?;
        removed.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// How many of the oldest must go by count, bytes and age.
fn surplus(settings: &Settings, entries: &[Entry], bytes: u64, now: SystemTime) -> usize {
    let by_count = (entries.len() + 1).saturating_sub(settings.max_count);
    let mut sum = bytes;
    let newest_first = entries.iter().rev();
    let fits = newest_first.take_while(|entry| {
        sum = sum.saturating_add(entry.bytes);
        sum <= settings.max_bytes
    });
    let by_bytes = entries.len() - fits.count();
    let by_age = too_old(settings, entries, now);
    by_count.max(by_bytes).max(by_age)
}

fn too_old(settings: &Settings, entries: &[Entry], now: SystemTime) -> usize {
    let is_old = |entry: &&Entry| {
        // A clock that was set back makes nothing old.
        let age = now.duration_since(entry.written_at);
        age.is_ok_and(|age| age > settings.max_age)
    };
    entries.iter().take_while(is_old).count()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn entries(sizes: &[u64], now: SystemTime) -> Vec<Entry> {
        let of = |(index, &bytes): (usize, &u64)| Entry {
            name: index.to_string(),
            bytes,
            written_at: now - Duration::from_secs(60 * (sizes.len() - index) as u64),
        };
        sizes.iter().enumerate().map(of).collect()
    }

    fn settings(max_count: usize, max_bytes: u64, max_age_s: u64) -> Settings {
        Settings {
            max_count,
            max_bytes,
            max_age: Duration::from_secs(max_age_s),
            ..Settings::default()
        }
    }

    #[test]
    fn each_bound_alone() {
        let now = SystemTime::now();
        let entries = entries(&[10, 20, 30], now);
        let surplus = |settings: Settings| surplus(&settings, &entries, 5, now);
        assert_eq!(surplus(settings(4, 65, 600)), 0);
        assert_eq!(surplus(settings(3, 65, 600)), 1);
        assert_eq!(surplus(settings(1, 65, 600)), 3);
        assert_eq!(surplus(settings(4, 64, 600)), 1);
        assert_eq!(surplus(settings(4, 34, 600)), 3);
        assert_eq!(surplus(settings(4, 65, 150)), 1);
        assert_eq!(surplus(settings(4, 65, 30)), 3);
    }

    #[test]
    fn a_clock_that_was_set_back_removes_nothing() {
        let now = SystemTime::now();
        let entries = entries(&[1; 5], now);
        let before = now - Duration::from_secs(3_000);
        assert_eq!(surplus(&settings(9, 100, 60), &entries, 1, before), 0);
    }

    proptest! {
        /// What stays fits, and nothing more went than had to.
        #[test]
        fn bounds_hold_exactly(
            sizes in prop::collection::vec(0_u64..100, 0..30),
            bytes in 1_u64..50,
            max_count in 1_usize..20,
            max_bytes in 50_u64..500,
            max_age_s in 60_u64..1800,
        ) {
            let now = SystemTime::now();
            let entries = entries(&sizes, now);
            let settings = settings(max_count, max_bytes, max_age_s);
            let fits = |gone: usize| {
                let kept = &entries[gone..];
                let sum: u64 = kept.iter().map(|entry| entry.bytes).sum();
                let oldest = kept.first().and_then(|it| now.duration_since(it.written_at).ok());
                kept.len() < max_count
                    && sum + bytes <= max_bytes
                    && oldest.is_none_or(|age| age <= settings.max_age)
            };
            let gone = surplus(&settings, &entries, bytes, now);
            prop_assert!(gone <= entries.len() && fits(gone));
            prop_assert!(gone == 0 || !fits(gone - 1));
        }
    }
}
