//! What a probe on a contended entry point told of a wait: not a guess.

use super::{Verdict, glibc, musl};
use crate::model::Kind;

/// It was hit just before the wait, by the thread that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Kind of the lock; `None`: only its address is told.
    pub kind: Option<Kind>,
    /// Runtime that the lock belongs to.
    pub runtime: &'static str,
    /// Address of the lock object.
    pub address: u64,
    /// The function.
    pub function: &'static str,
}

impl Told {
    /// Puts right what was guessed. What waits through a C library knows more of the lock than the C library does; whose
    /// idle worker sleeps on a condition variable is more than that it does.
    #[must_use]
    pub fn over(&self, guess: Verdict) -> Verdict {
        let evidence = format!("slow-path probe on {}", self.function);
        let by_libc = [glibc::NAME, musl::NAME].contains(&self.runtime);
        let is_finer = match guess.runtime {
            Some(runtime) if by_libc => ![glibc::NAME, musl::NAME].contains(&runtime),
            _ => false,
        };
        let is_idle = matches!(guess.kind, Kind::Idle | Kind::Runtime)
            && matches!(self.kind, None | Some(Kind::Condvar | Kind::Semaphore));
        if is_finer || is_idle {
            return Verdict {
                evidence: format!("{}; {evidence}", guess.evidence),
                ..guess
            };
        }
        let kind = self.kind.unwrap_or(guess.kind);
        let agrees = guess.kind == kind && guess.address == self.address;
        Verdict {
            kind,
            runtime: Some(self.runtime),
            address: self.address,
            owner: guess.owner.filter(|_| agrees),
            dead_owner: guess.dead_owner.filter(|_| agrees),
            evidence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Owner;

    fn guess(kind: Kind, runtime: Option<&'static str>, address: u64) -> Verdict {
        Verdict {
            kind,
            runtime,
            address,
            owner: Some(Owner {
                tid: 7,
                known_by: "a word",
            }),
            dead_owner: None,
            evidence: "a guess".to_owned(),
        }
    }

    fn told(kind: Option<Kind>, runtime: &'static str) -> Told {
        Told {
            kind,
            runtime,
            address: 0x1000,
            function: "slow",
        }
    }

    #[test]
    fn the_probe_wins() {
        let verdict = told(Some(Kind::RwlockWrite), "rust-std").over(guess(
            Kind::Mutex,
            Some("glibc"),
            0x1004,
        ));
        assert_eq!(verdict.kind, Kind::RwlockWrite);
        assert_eq!(verdict.runtime, Some("rust-std"));
        assert_eq!(verdict.address, 0x1000);
        assert_eq!(verdict.owner, None, "of what was thought to be a mutex");
        assert_eq!(verdict.evidence, "slow-path probe on slow");
    }

    #[test]
    fn an_owner_stays_where_both_agree() {
        let verdict =
            told(Some(Kind::Mutex), "glibc").over(guess(Kind::Mutex, Some("glibc"), 0x1000));
        assert_eq!(verdict.owner.map(|owner| owner.tid), Some(7));
    }

    #[test]
    fn who_knows_more_is_asked() {
        // CPython's lock is a semaphore of glibc's.
        let verdict =
            told(Some(Kind::Semaphore), "glibc").over(guess(Kind::Mutex, Some("python"), 0x1000));
        assert_eq!(
            (verdict.kind, verdict.runtime),
            (Kind::Mutex, Some("python"))
        );
        assert_eq!(verdict.evidence, "a guess; slow-path probe on slow");
        let verdict =
            told(Some(Kind::Condvar), "rust-std").over(guess(Kind::Idle, Some("rust-std"), 0x1000));
        assert_eq!(verdict.kind, Kind::Idle);
        // But nobody is idle on a mutex.
        let verdict =
            told(Some(Kind::Mutex), "rust-std").over(guess(Kind::Idle, Some("rust-std"), 0x1000));
        assert_eq!(verdict.kind, Kind::Mutex);
    }

    #[test]
    fn a_kind_that_is_not_told_is_guessed() {
        let verdict = told(None, "jvm").over(guess(Kind::Condvar, Some("glibc"), 0x1028));
        assert_eq!((verdict.kind, verdict.address), (Kind::Condvar, 0x1000));
    }
}
