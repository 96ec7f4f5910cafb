//! The threads of a process that nobody asked us to watch, from `/proc` alone. Reading them takes locks of that process:
//! a thread of our own does it, and is left behind if it does not come back.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use holdup_abi::census::Task;

use super::reader::Reader;
use crate::{
    ingest::census::proc_task,
    proc::{maps::Maps, process::Proc},
    report::waiter,
};

/// How long one process may take: some 30 us for each thread are usual, more on a busy machine.
const PATIENCE: Duration = Duration::from_secs(1);

/// A thread at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Still {
    /// What it does.
    pub task: Task,
    /// How often it had run before; `None` when the kernel does not count that, or when it was not asked because the
    /// thread is in no futex wait.
    pub turns: Option<u64>,
}

impl Still {
    /// Looks at one thread; `None` when it is gone or we may not.
    #[must_use]
    pub fn of(pid: u32, tid: u32) -> Option<Self> {
        // First how often it ran, then what it does: if both are the same later on, it slept all the while.
        let turns = turns(pid, tid);
        let task = proc_task(pid, tid).ok()?;
        let turns = turns.filter(|_| waiter::futex_wait(&task).is_some());
        Some(Self { task, turns })
    }

    /// Whether it has slept in the same wait from `self` to `later`.
    #[must_use]
    pub fn slept_until(&self, later: &Self) -> bool {
        let call = |still: &Self| (still.task.syscall, still.task.args, still.task.regs.sp);
        self.turns.is_some() && self.turns == later.turns && call(self) == call(later)
    }
}

/// What a census found.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Threads, by id.
    pub threads: Vec<Still>,
    /// There are more.
    pub is_partial: bool,
}

/// Looks at the threads of a process, `most` of them; `None` when it does not answer, is gone or we may not.
#[must_use]
pub fn of(pid: u32, most: usize, deadline: Instant) -> Option<Census> {
    let left = deadline.saturating_duration_since(Instant::now());
    let reader = Reader::new()?;
    let (sender, receiver) = mpsc::sync_channel(1);
    let work = move || {
        let _reader = reader;
        // Its stacks and locks are read later, by ourselves: this one must not be stuck then.
        let census = Maps::read(pid).ok().map(|_| read(pid, most));
        // Nobody listens any more when the patience was over.
        let _ = sender.send(census);
    };
    std::thread::Builder::new()
        .name("census".to_owned())
        .spawn(work)
        .ok()?;
    receiver.recv_timeout(left.min(PATIENCE)).ok()?
}

fn read(pid: u32, most: usize) -> Census {
    let tids = Proc::default().threads(pid);
    Census {
        is_partial: tids.len() > most,
        threads: tids
            .into_iter()
            .take(most)
            .filter_map(|tid| Still::of(pid, tid))
            .collect(),
    }
}

/// How often a thread has got a CPU.
fn turns(pid: u32, tid: u32) -> Option<u64> {
    let read = |name: &str| std::fs::read(format!("/proc/{pid}/task/{tid}/{name}")).ok();
    let schedstat = read("schedstat").and_then(|text| third_number(&text));
    schedstat
        .filter(|&turns| turns > 0)
        .or_else(|| switches(&read("status")?))
}

/// The third number of a line: `schedstat` has time on a CPU, time in line, turns.
fn third_number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    text.split_ascii_whitespace().nth(2)?.parse().ok()
}

/// Context switches of a thread as its `status` file tells them, of both kinds.
fn switches(status: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(status);
    let count = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    let voluntary = count("voluntary_ctxt_switches:")?;
    voluntary.checked_add(count("nonvoluntary_ctxt_switches:")?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATUS: &str = "Name:\tx\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n";

    #[test]
    fn numbers() {
        assert_eq!(third_number(b"12 34 56\n"), Some(56));
        assert_eq!(third_number(b"12 34"), None);
        assert_eq!(third_number(b"1 2 -3"), None);
        assert_eq!(switches(STATUS.as_bytes()), Some(15));
        assert_eq!(switches(b"voluntary_ctxt_switches:\t12\n"), None);
    }

    #[test]
    fn our_own_threads() {
        let pid = std::process::id();
        let later = || Instant::now() + Duration::from_secs(60);
        let census = of(pid, usize::MAX, later()).unwrap();
        assert!(census.threads.iter().any(|thread| thread.task.tid == pid));
        assert!(!census.is_partial);
        let one = of(pid, 1, later()).unwrap();
        assert_eq!(one.threads.len(), 1);
        // The one that reads is a second one.
        assert!(one.is_partial);
        assert!(of(u32::MAX, 1, later()).is_none());
        assert!(of(pid, 1, Instant::now()).is_none_or(|census| census.threads.len() <= 1));
    }

    #[test]
    fn a_thread_that_ran_did_not_sleep_through() {
        let mut first = Still::of(std::process::id(), std::process::id()).unwrap();
        first.turns = Some(7);
        assert!(first.slept_until(&first));
        let mut later = first;
        later.turns = Some(8);
        assert!(!first.slept_until(&later));
        later = first;
        later.task.args[0] = !later.task.args[0];
        assert!(!first.slept_until(&later));
        first.turns = None;
        assert!(!first.slept_until(&first));
    }

    proptest! {
        #[test]
        fn any_text(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = (third_number(&bytes), switches(&bytes));
        }

        #[test]
        fn any_damage(damage in proptest::collection::vec((0..STATUS.len(), any::<u8>()), 0..8)) {
            let mut text = STATUS.as_bytes().to_vec();
            for (at, byte) in damage {
                text[at] = byte;
            }
            let _ = switches(&text);
        }
    }
}
