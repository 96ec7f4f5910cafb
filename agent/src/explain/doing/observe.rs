//! Looking at many threads at once: each with a patience of its own, all within one deadline.
//!
//! Reading a target's memory or its `syscall` file takes locks of the target's. One that is stuck in a page fault of a
//! dead file system may keep them, and us with it: so threads of our own do the reading, and one that does not come
//! back is left behind.

use std::{
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    blocked::{Blocked, blocked},
    far,
    look::{Look, look},
    object::{Descriptors, Endpoint},
};

/// How long the reading of one thread may take at least: some hundred microseconds are usual. On a busy machine it is
/// our reader that is late; so it may take a part of the time that is left.
const PATIENCE: Duration = Duration::from_millis(200);
/// Most readers that may be left behind, in all calls together, before nothing is read any more.
const MAX_READERS: usize = 16;
/// Part of the time left that one thread may take.
const SHARE: u32 = 4;
/// Results on their way.
const QUEUE: usize = 64;

/// Readers that have not come back.
static READERS: AtomicUsize = AtomicUsize::new(0);

/// A thread at one moment, with what it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Raw facts.
    pub look: Look,
    /// The system call it was in.
    pub blocked: Option<Blocked>,
    /// The descriptors that the call waits on.
    pub endpoints: Vec<Endpoint>,
    /// Something was left out, since time ran out or the kernel refused: who is at the other end, for one.
    pub is_partial: bool,
}

/// Looks at threads, given as (process id, thread id). The result has one observation for each, in the same order.
///
/// # Cost
/// About 0.2 ms for each thread. When any waits on a pipe or a socket: one walk over all descriptors of the machine
/// (about 1 us each), and one sock_diag dump for each network namespace and protocol. Ends soon after `deadline`.
#[must_use]
pub fn observe(threads: &[(u32, u32)], deadline: Instant) -> Vec<Observation> {
    let mut observations = read_all(threads, deadline);
    far::fill(&mut observations, deadline);
    observations
}

fn read_all(threads: &[(u32, u32)], deadline: Instant) -> Vec<Observation> {
    let mut observations = Vec::with_capacity(threads.len());
    while let Some(rest) = threads.get(observations.len()..)
        && !rest.is_empty()
        && let Some(receiver) = start(rest.to_vec())
    {
        let mut looked = None;
        while observations.len() < threads.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            let patience = left.min(PATIENCE.max(left / SHARE));
            match receiver.recv_timeout(patience) {
                Ok(Step::Looked(look)) => looked = Some(*look),
                Ok(Step::Read(observation)) => {
                    observations.push(*observation);
                    looked = None;
                }
                Err(_) => break,
            }
        }
        // The one that the reader is stuck at.
        let stuck = threads.get(observations.len());
        observations.extend(stuck.map(|stuck| unreadable(stuck, looked)));
        if Instant::now() >= deadline {
            break;
        }
    }
    let read = observations.len();
    let unread = threads.iter().skip(read);
    observations.extend(unread.map(|thread| unreadable(thread, None)));
    observations
}

/// What a reader reports.
enum Step {
    /// The raw facts of a thread, before its memory and its descriptors are read.
    Looked(Box<Look>),
    /// All of it.
    Read(Box<Observation>),
}

/// Starts a reader; `None` when too many have not come back.
fn start(threads: Vec<(u32, u32)>) -> Option<mpsc::Receiver<Step>> {
    let guard = Reader::new()?;
    let (sender, receiver) = mpsc::sync_channel(QUEUE);
    std::thread::Builder::new()
        .name("look".to_owned())
        .spawn(move || {
            let _guard = guard;
            for (pid, tid) in threads {
                let look = look(pid, tid);
                // Nobody listens any more when the patience was over.
                if sender.send(Step::Looked(Box::new(look.clone()))).is_err()
                    || sender.send(Step::Read(Box::new(read(look)))).is_err()
                {
                    break;
                }
            }
        })
        .ok()?;
    Some(receiver)
}

/// Counts a reader for as long as it lives.
struct Reader;

impl Reader {
    fn new() -> Option<Self> {
        let count = |readers| (readers < MAX_READERS).then_some(readers + 1);
        READERS
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count)
            .ok()
            .map(|_| Self)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        READERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All that one thread's own files and memory say.
fn read(look: Look) -> Observation {
    let blocked = blocked(&look);
    let mut descriptors = Descriptors::new(look.pid, look.tid);
    let fds = blocked.iter().flat_map(|blocked| &blocked.fds);
    let endpoints = fds.map(|&fd| descriptors.endpoint(fd)).collect();
    Observation {
        look,
        blocked,
        endpoints,
        is_partial: false,
    }
}

fn unreadable(&(pid, tid): &(u32, u32), looked: Option<Look>) -> Observation {
    Observation {
        look: looked.unwrap_or_else(|| Look::unknown(pid, tid)),
        blocked: None,
        endpoints: Vec::new(),
        is_partial: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::doing::State;

    #[test]
    fn one_for_each_in_order() {
        let pid = std::process::id();
        let threads = [(u32::MAX, 1), (pid, pid), (u32::MAX, 2)];
        let seen = observe(&threads, Instant::now() + Duration::from_secs(5));
        let ids: Vec<_> = seen
            .iter()
            .map(|seen| (seen.look.pid, seen.look.tid))
            .collect();
        assert_eq!(ids, threads);
        assert_eq!(seen[0].look.state, State::Gone);
        assert_ne!(seen[1].look.state, State::Gone);
    }

    #[test]
    fn no_time_gives_no_facts() {
        let threads = vec![(std::process::id(), std::process::id()); 1000];
        let began = Instant::now();
        let seen = observe(&threads, began);
        assert_eq!(seen.len(), 1000);
        assert!(seen[999].is_partial);
        assert_eq!(seen[999].look.state, State::Other);
    }
}
