//! Which thread of a process has to do with the other end of a pipe or socket: the kernel knows the process only.

use std::collections::{BTreeMap, HashMap};

use super::census::Still;
use crate::{
    explain::doing,
    model::{Kind, explanation::Confidence},
    report::lock::Wait,
};

/// Who stands for a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// This thread.
    Thread {
        /// Its id.
        tid: u32,
        /// How well that is known.
        confidence: Confidence,
    },
    /// The process as a whole: none of its threads is known to have to do with it.
    Process {
        /// It has but one thread.
        is_alone: bool,
    },
}

/// Finds the thread of process `pid` that its `fd` waits for. Best evidence first: one that is in a system call on that
/// descriptor; the first thread, if it waits for a lock or for another thread to end; any other one that waits for a
/// lock, of the lock that most of them wait for. The last two are guesses unless there is only one thread.
#[must_use]
pub fn of(pid: u32, fd: Option<i32>, threads: &[Still], waits: &HashMap<u32, Wait>) -> Stand {
    let is_alone = threads.len() == 1;
    let on_fd = |still: &&Still| {
        let task = &still.task;
        fd.is_some() && task.state != 0 && doing::descriptor(task.syscall, &task.args) == fd
    };
    if let Some(still) = threads.iter().find(on_fd) {
        return Stand::Thread {
            tid: still.task.tid,
            confidence: Confidence::Observed,
        };
    }
    // Waiting for another thread's end is what a first thread does: a worker that does so tells nothing.
    let waits_for = |tid: u32| {
        let wait = waits.get(&tid)?;
        let counts = wait.kind.is_lock() || (wait.kind == Kind::Join && tid == pid);
        (wait.steady && counts).then_some(wait.address)
    };
    let mut by_lock: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for still in threads {
        if let Some(address) = waits_for(still.task.tid) {
            by_lock.entry(address).or_default().push(still.task.tid);
        }
    }
    let first = waits_for(pid).map(|_| pid);
    let of_most = || {
        let most = by_lock.values().rev().max_by_key(|tids| tids.len())?;
        most.iter().min().copied()
    };
    match first.or_else(of_most) {
        Some(tid) => Stand::Thread {
            tid,
            confidence: guess(is_alone),
        },
        None => Stand::Process { is_alone },
    }
}

/// How well it is known that what the first thread does is what the process does.
#[must_use]
pub const fn guess(is_alone: bool) -> Confidence {
    if is_alone {
        Confidence::Observed
    } else {
        Confidence::Inferred
    }
}

#[cfg(test)]
mod tests {
    use holdup_abi::{census::Task, record::Regs};

    use super::*;

    const PID: u32 = 50;

    fn thread(tid: u32, syscall: i64, first: u64) -> Still {
        let task = Task {
            tid,
            tgid: PID,
            generation: 0,
            state: 1,
            syscall,
            args: [first, 0, 0, 0, 0, 0],
            regs: Regs::default(),
            last_ran_ns: 0,
            since_ns: 0,
            wait_state: 0,
            wait_flags: 0,
            comm: [0; 16],
        };
        Still { task, turns: None }
    }

    fn futex(tid: u32) -> Still {
        thread(tid, libc::SYS_futex, 0x1000)
    }

    fn waits(of: &[(u32, u64, Kind)]) -> HashMap<u32, Wait> {
        let wait = |&(tid, address, kind): &(u32, u64, Kind)| {
            let wait = Wait {
                pid: PID,
                address,
                kind,
                age_ns: None,
                at_least: true,
                steady: true,
            };
            (tid, wait)
        };
        of.iter().map(wait).collect()
    }

    const fn is(tid: u32, confidence: Confidence) -> Stand {
        Stand::Thread { tid, confidence }
    }

    #[test]
    fn a_thread_in_a_call_on_the_descriptor_comes_first() {
        let threads = [
            futex(PID),
            thread(51, libc::SYS_read, 8),
            thread(52, libc::SYS_recvfrom, 9),
            // A set of descriptors, by the number that is meant.
            thread(53, libc::SYS_epoll_pwait, 9),
        ];
        let waits = waits(&[(PID, 1, Kind::Mutex)]);
        let ask = |fd| of(PID, fd, &threads, &waits);
        assert_eq!(ask(Some(9)), is(52, Confidence::Observed));
        assert_eq!(ask(Some(8)), is(51, Confidence::Observed));
        assert_eq!(ask(Some(7)), is(PID, Confidence::Inferred));
        assert_eq!(ask(None), is(PID, Confidence::Inferred));
    }

    #[test]
    fn a_thread_that_waits_for_a_lock_is_a_guess_among_several() {
        let threads = [futex(PID), futex(51), futex(52), futex(53)];
        let ask = |of_them: &[_]| of(PID, Some(3), &threads, &waits(of_them));
        let most = [
            (51, 1, Kind::Mutex),
            (52, 2, Kind::Semaphore),
            (53, 2, Kind::Semaphore),
        ];
        assert_eq!(ask(&most), is(52, Confidence::Inferred));
        assert_eq!(
            ask(&[(PID, 7, Kind::Join), (51, 1, Kind::Mutex)]),
            is(PID, Confidence::Inferred)
        );
        // Idle threads stand for nothing.
        let idle = [(PID, 1, Kind::Condvar), (51, 1, Kind::Idle)];
        assert_eq!(ask(&idle), Stand::Process { is_alone: false });
        let alone = [futex(PID)];
        assert_eq!(
            of(PID, None, &alone, &waits(&[(PID, 1, Kind::Mutex)])),
            is(PID, Confidence::Observed)
        );
        assert_eq!(
            of(PID, None, &alone, &waits(&[])),
            Stand::Process { is_alone: true }
        );
    }

    #[test]
    fn one_that_has_moved_on_waits_for_nothing() {
        let mut moved = waits(&[(PID, 1, Kind::Mutex)]);
        moved.get_mut(&PID).unwrap().steady = false;
        assert_eq!(
            of(PID, None, &[futex(PID)], &moved),
            Stand::Process { is_alone: true }
        );
    }
}
