//! Whether what was seen of watched threads still held when others were looked at.
//!
//! Two processes are read one after the other. That thread A waited for B's lock, and that B waits for A's, is a
//! deadlock only if both are true at once: A could have gone on in between. So each watched thread that waits is marked
//! before anything beyond is read; and at the end, those that hold something are looked at again. Who has not run since
//! its mark still waits, has taken nothing, and has let go of nothing.

use std::collections::{HashMap, HashSet};

use super::{beyond, census::Still};
use crate::{
    model::explanation::LockRef,
    report::{engine::Engine, lock::Assembled},
};

/// Waiting threads that are marked: about 30 us each.
const MAX_MARKS: usize = 1024;

/// What does not hold any more.
#[derive(Clone, Debug, Default)]
pub struct Stale {
    /// Threads that wait no more for what they waited for.
    pub waits: HashSet<u32>,
    /// Locks that have got another holder, or none.
    pub holds: HashSet<LockRef>,
}

/// Watched threads that wait, before others were looked at.
#[derive(Debug)]
pub struct Marks(HashMap<u32, Still>);

impl Marks {
    /// Marks them: holders first, since chains go on there.
    #[must_use]
    pub fn take(near: &Assembled) -> Self {
        let held_by = holders(near);
        let mut waiting: Vec<(bool, u32, u32)> = near
            .threads
            .iter()
            .filter(|(_, wait)| wait.steady)
            .map(|(&tid, wait)| (!held_by.contains(&tid), wait.pid, tid))
            .collect();
        waiting.sort_unstable();
        waiting.truncate(MAX_MARKS);
        let marks = waiting
            .into_iter()
            .filter_map(|(_, pid, tid)| Some((tid, Still::of(pid, tid)?)));
        Self(marks.collect())
    }

    /// What has changed since, of all threads that wait and hold something. `seen` are the threads beyond as they were
    /// when they were looked at: the waits of those that have run since are marked in `far`.
    #[must_use]
    pub fn confirm<'a>(
        &self,
        near: &Assembled,
        far: &mut Assembled,
        seen: impl Iterator<Item = &'a Still>,
        engine: &mut Engine,
    ) -> Stale {
        let mut stale = Stale::default();
        let held_by: HashSet<u32> = holders(near).union(&holders(far)).copied().collect();
        let both = |tid: &&u32| near.threads.get(tid).is_some_and(|wait| wait.steady);
        let relevant: Vec<u32> = held_by.iter().filter(both).copied().collect();
        let marked = relevant.iter().filter_map(|tid| self.0.get(tid));
        let again = beyond::assemble(marked, engine);
        for tid in relevant {
            let place = |of: &Assembled| {
                let wait = of.threads.get(&tid).filter(|wait| wait.steady)?;
                Some((wait.pid, wait.address))
            };
            if place(&again) != place(near) {
                stale.waits.insert(tid);
            }
        }
        for lock in &again.locks {
            let holder = |of: &Assembled| {
                let rows = of.locks.iter().filter(|row| row.name() == lock.name());
                rows.filter_map(|row| Some(row.holder.as_ref()?.tid)).next()
            };
            if holder(&again) != holder(near) {
                stale.holds.insert(lock.name());
            }
        }
        let seen: HashMap<u32, &Still> = seen.map(|still| (still.task.tid, still)).collect();
        for (&tid, wait) in &mut far.threads {
            let now = Still::of(wait.pid, tid);
            let slept = |then: &&Still| now.is_some_and(|now| then.slept_until(&now));
            wait.steady &= seen.get(&tid).is_some_and(slept);
        }
        stale
    }
}

fn holders(of: &Assembled) -> HashSet<u32> {
    let holders = of.locks.iter().filter_map(|lock| lock.holder.as_ref());
    holders.map(|holder| holder.tid).collect()
}
