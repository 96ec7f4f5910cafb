//! How much a stack says, and who says most.

use crate::model::Kind;

/// What one thread's stack shows with regard to one lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Thread id.
    pub tid: u32,
    /// The function in which it is past the place where the waiters call for the lock.
    pub past: Option<String>,
    /// The same for that function's caller.
    pub past_caller: Option<String>,
    /// A function on the stack that calls the same function for a lock as the waiters do; looked for if the stack holds
    /// the lock's address.
    pub calls: Option<String>,
    /// The stack holds the lock's address.
    pub has_address: bool,
    /// The lock itself lies on the stack, so that its address means nothing.
    pub is_home: bool,
    /// It waits for another lock.
    pub waits: bool,
    /// It runs, so that its stack is of a moment ago.
    pub runs: bool,
}

/// Strength of the evidence, ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The address, and a function that takes such locks. The address alone says nothing: whoever made the lock has it.
    CallsAndAddress,
    /// Past the call.
    Past,
    /// Past the call of a wrapper, and the address.
    CallerAndAddress,
    /// Past the call, and the address.
    PastAndAddress,
}

/// Whether a thread that waits for this (`None`: for no futex) could hold a lock. Who waits for a signal has given the
/// lock back, or is an idle worker.
pub const fn may_hold(waits_for: Option<Kind>) -> bool {
    matches!(
        waits_for,
        None | Some(
            Kind::Mutex
                | Kind::RwlockRead
                | Kind::RwlockWrite
                | Kind::Once
                | Kind::Semaphore
                | Kind::Join
        )
    )
}

/// What the evidence is worth for a lock of this kind; `None` when it is none.
pub fn rank(shown: &Shown, kind: Kind) -> Option<Rank> {
    let has_address = shown.has_address && !shown.is_home;
    // Who is past a call that initialises has it behind him; he who does it is still in it.
    let past = shown.past.is_some() && kind != Kind::Once;
    let past_caller = shown.past_caller.is_some() && kind != Kind::Once;
    match (past, past_caller, has_address) {
        (true, _, true) => Some(Rank::PastAndAddress),
        (false, true, true) => Some(Rank::CallerAndAddress),
        // Who waits for the next lock may have given this one back in between: no reason to speak of a deadlock.
        (true, _, false) if !shown.waits => Some(Rank::Past),
        // Who waits may hold the address of what he is going to lock next; who posts, that of the semaphore.
        (false, _, true) if shown.calls.is_some() && !shown.waits && kind != Kind::Semaphore => {
            Some(Rank::CallsAndAddress)
        }
        _ => None,
    }
}

/// The best one; none when two are as good.
pub fn best(all: &[(Shown, Rank)]) -> Option<(&Shown, Rank)> {
    let (shown, rank) = all.iter().max_by_key(|(_, rank)| *rank)?;
    let as_good = all.iter().filter(|(_, other)| other == rank).count();
    (as_good == 1).then_some((shown, *rank))
}

impl Shown {
    /// The evidence in words.
    pub fn words(&self, rank: Rank) -> String {
        let address = "its stack holds the lock's address";
        let past = |function: &Option<String>| {
            let function = function.as_deref().unwrap_or_default();
            format!("it is past the call for the lock in {function}")
        };
        let words = match rank {
            Rank::CallsAndAddress => {
                let function = self.calls.as_deref().unwrap_or_default();
                format!("{address}, and its function {function} takes such locks")
            }
            Rank::Past => past(&self.past),
            Rank::PastAndAddress => format!("{}, and {address}", past(&self.past)),
            Rank::CallerAndAddress => format!("{}, and {address}", past(&self.past_caller)),
        };
        if self.runs {
            format!("{words}, at two moments while it runs")
        } else {
            words
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(tid: u32, past: bool, past_caller: bool, has_address: bool) -> Shown {
        Shown {
            tid,
            past: past.then(|| "work".to_owned()),
            past_caller: past_caller.then(|| "serve".to_owned()),
            has_address,
            calls: has_address.then(|| "work".to_owned()),
            ..Shown::default()
        }
    }

    fn of(shown: &Shown) -> Option<Rank> {
        rank(shown, Kind::Mutex)
    }

    #[test]
    fn evidence_in_order() {
        let ranks = [
            of(&shown(1, false, false, true)),
            of(&shown(1, true, false, false)),
            of(&shown(1, false, true, true)),
            of(&shown(1, true, false, true)),
        ];
        assert!(ranks.iter().all(Option::is_some) && ranks.is_sorted());
        assert_eq!(of(&shown(1, false, false, false)), None);
        assert_eq!(of(&shown(1, false, true, false)), None, "a wrapper alone");
    }

    #[test]
    fn an_address_that_means_nothing() {
        let home = Shown {
            is_home: true,
            ..shown(1, false, false, true)
        };
        assert_eq!(of(&home), None, "the lock lies there itself");
        let waits = Shown {
            waits: true,
            ..shown(1, false, false, true)
        };
        assert_eq!(of(&waits), None, "it may want it next");
        let waits = Shown {
            waits: true,
            ..shown(1, true, false, false)
        };
        assert_eq!(of(&waits), None, "it may have given it back");
        let maker = Shown {
            calls: None,
            ..shown(1, false, false, true)
        };
        assert_eq!(of(&maker), None, "it takes no such locks");
        let poster = shown(1, false, false, true);
        assert_eq!(rank(&poster, Kind::Semaphore), None);
        assert_eq!(rank(&shown(1, true, false, false), Kind::Once), None);
        assert!(!may_hold(Some(Kind::Idle)) && !may_hold(Some(Kind::Condvar)));
    }

    #[test]
    fn only_one_can_be_best() {
        let all = |many: &[Shown]| -> Vec<(Shown, Rank)> {
            many.iter()
                .map(|it| (it.clone(), of(it).unwrap()))
                .collect()
        };
        let weak = shown(1, false, false, true);
        let strong = shown(2, true, false, true);
        let best_of = |many: &[Shown]| best(&all(many)).map(|(shown, _)| shown.tid);
        assert_eq!(best_of(&[weak.clone(), strong.clone()]), Some(2));
        assert_eq!(
            best_of(&[strong.clone(), weak.clone(), weak.clone()]),
            Some(2)
        );
        assert_eq!(best_of(&[weak.clone(), weak]), None);
        assert_eq!(best_of(&[strong.clone(), strong]), None);
        assert_eq!(best_of(&[]), None);
    }
}
