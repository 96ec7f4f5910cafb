//! Locks that a reader cannot tell apart: one for each connection or object, all waited for at the same place.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
};

use crate::{
    model::{Kind, Lock, histogram},
    sink::units,
};

use super::{lock, page::Page};

/// One lock, or several that are alike.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// The lock, or the sum of all: identity and address are those of the one waited for longest.
    pub lock: Cow<'a, Lock>,
    /// Name of the process.
    pub comm: &'a str,
    /// How many locks.
    pub locks: usize,
    /// In how many processes.
    pub processes: usize,
}

impl Group<'_> {
    /// Writes where they live.
    pub fn place(&self, page: &mut Page) {
        if self.locks == 1 {
            return lock::place(page, &self.lock, self.comm);
        }
        let process = match self.processes {
            1 => format!("{} ({})", self.comm, self.lock.pid),
            n => format!("{n} processes named {}", self.comm),
        };
        let count = units::count(self.locks as u64);
        let address = format!("{count} locks such as {:#x}", self.lock.address);
        lock::place_in(page, &self.lock, &process, &address);
    }
}

/// Puts together locks of the same id and process name, in the order of their time. Locks with a symbol, with a known
/// holder or with several waiters are worth a look of their own.
pub fn alike<'a>(locks: &[&'a Lock], comms: &HashMap<u32, &'a str>) -> Vec<Group<'a>> {
    let comm = |lock: &Lock| comms.get(&lock.pid).copied().unwrap_or("?");
    let mut groups: Vec<Vec<&'a Lock>> = Vec::new();
    let mut index_of: HashMap<(&str, &str, Kind, bool), usize> = HashMap::new();
    for &lock in locks {
        let is_special = lock.symbol.is_some()
            || lock.site.is_none()
            || lock.holder.is_some()
            || lock.waiters > 1;
        let index = if is_special {
            groups.len()
        } else {
            // Where nobody has got through is another story than where all do in time.
            let flows = lock.waits > 0;
            let key = (comm(lock), lock.id.as_str(), lock.kind, flows);
            *index_of.entry(key).or_insert(groups.len())
        };
        match groups.get_mut(index) {
            Some(group) => group.push(lock),
            None => groups.push(vec![lock]),
        }
    }
    let any = groups.iter().any(|group| group.len() > 1);
    let mut groups: Vec<Group<'a>> = groups
        .into_iter()
        .filter_map(|members| {
            let (&first, rest) = members.split_first()?;
            Some(Group {
                lock: if rest.is_empty() {
                    Cow::Borrowed(first)
                } else {
                    Cow::Owned(sum(first, rest))
                },
                comm: comm(first),
                locks: members.len(),
                processes: members
                    .iter()
                    .map(|lock| lock.pid)
                    .collect::<BTreeSet<_>>()
                    .len(),
            })
        })
        .collect();
    if any {
        groups.sort_by_key(|group| std::cmp::Reverse(time(&group.lock)));
    }
    groups
}

/// Time waited, finished or not.
fn time(lock: &Lock) -> u128 {
    let age_ns = u128::from(lock.oldest_wait_ns.unwrap_or(0));
    u128::from(lock.wait_ns.total) + u128::from(lock.waiters) * age_ns
}

fn sum(first: &Lock, rest: &[&Lock]) -> Lock {
    let mut sum = first.clone();
    for lock in rest {
        sum.waiters = sum.waiters.saturating_add(lock.waiters);
        sum.waiters_peak = sum.waiters_peak.max(lock.waiters_peak);
        sum.waits = sum.waits.saturating_add(lock.waits);
        let (all, one) = (&mut sum.outcomes, &lock.outcomes);
        all.woken = all.woken.saturating_add(one.woken);
        all.timed_out = all.timed_out.saturating_add(one.timed_out);
        all.interrupted = all.interrupted.saturating_add(one.interrupted);
        all.error = all.error.saturating_add(one.error);
        sum.value_changed = sum.value_changed.saturating_add(lock.value_changed);
        sum.wait_ns.total = sum.wait_ns.total.saturating_add(lock.wait_ns.total);
        sum.wait_ns.max = sum.wait_ns.max.max(lock.wait_ns.max);
        if lock.oldest_wait_ns > sum.oldest_wait_ns {
            sum.oldest_wait_ns = lock.oldest_wait_ns;
            sum.oldest_is_at_least = lock.oldest_is_at_least;
        }
        sum.last_handoff_ns = [sum.last_handoff_ns, lock.last_handoff_ns]
            .into_iter()
            .flatten()
            .min();
        sum.sites.extend_from_slice(&lock.sites);
        match (&mut sum.holds, &lock.holds) {
            (Some(all), Some(one)) => all.add(one),
            (all @ None, one) => all.clone_from(one),
            (Some(_), None) => {}
        }
        match (&mut sum.runqueue, &lock.runqueue) {
            (Some(all), Some(one)) => all.add(one),
            (all @ None, one) => *all = *one,
            (Some(_), None) => {}
        }
    }
    sum.waiters_peak = sum.waiters_peak.max(sum.waiters);
    let histograms = rest.iter().chain([&first]).map(|lock| &*lock.histogram);
    sum.histogram = histogram::sum(histograms);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::fixture;

    fn trx(pid: u32, address: u64, total: u64) -> Lock {
        let mut lock = fixture::lock(pid, address, Kind::Unknown);
        lock.id = "unknown@1".to_owned();
        lock.site = Some("lock_rec db.c:7".to_owned());
        lock.waits = 2;
        lock.wait_ns.total = total;
        lock.wait_ns.max = total;
        lock.histogram = vec![histogram::Bucket {
            le_ns: Some(1024),
            count: 2,
        }];
        lock
    }

    #[test]
    fn locks_of_one_place_are_added_up_and_ranked_together() {
        let mut mutex = trx(1, 9, 12);
        let (mut first, mut second) = (trx(1, 16, 10), trx(2, 32, 5));
        (first.waiters, second.waiters) = (1, 1);
        mutex.id = "mutex@2".to_owned();
        let locks = [mutex, first, second];
        let comms = HashMap::from([(1, "db"), (2, "db")]);
        let groups = alike(&locks.iter().collect::<Vec<_>>(), &comms);
        assert_eq!(groups.len(), 2);
        let sum = &groups[0];
        assert_eq!((sum.locks, sum.processes), (2, 2));
        assert_eq!((sum.lock.address, sum.lock.waits), (16, 4));
        assert_eq!((sum.lock.waiters, sum.lock.waiters_peak), (2, 2));
        assert_eq!((sum.lock.wait_ns.total, sum.lock.wait_ns.max), (15, 10));
        let counts: Vec<u64> = sum.lock.histogram.iter().map(|b| b.count).collect();
        assert_eq!(counts, [4]);
        assert_eq!(groups[1].locks, 1);
    }

    #[test]
    fn what_is_worth_a_look_stays_alone() {
        let mut jam = trx(1, 16, 10);
        jam.waiters = 2;
        let mut other = trx(3, 16, 10);
        other.site = None;
        let mut stuck = trx(1, 64, 0);
        (stuck.waits, stuck.waiters) = (0, 1);
        let locks = [
            jam,
            trx(1, 32, 5),
            trx(2, 48, 5),
            other.clone(),
            other,
            stuck,
        ];
        let comms = HashMap::from([(1, "db"), (2, "web"), (3, "db")]);
        let groups = alike(&locks.iter().collect::<Vec<_>>(), &comms);
        assert!(groups.iter().all(|group| group.locks == 1), "{groups:?}");
        assert_eq!(groups.len(), 6);
    }
}
