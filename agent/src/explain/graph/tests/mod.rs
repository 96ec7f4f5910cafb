//! Small worlds with known answers, and random ones against brute force.

mod chains;
mod circles;
mod cost;
mod random;
mod sentences;
mod totals;

use super::{
    Explained, explain,
    facts::{Activity, Block, Facts, Hold, Id, Lock, Look, Process, Thread, ThreadId, Wait},
};
use crate::model::{
    Kind,
    explanation::{Confidence, Explanation, LinkKind, LockRef, Node, Progress},
};

const SECOND: u64 = 1_000_000_000;

/// Process of everything that is not said to be elsewhere.
const PID: u32 = 100;

fn tid(tid: u32) -> ThreadId {
    ThreadId { pid: PID, tid }
}

fn at(address: u64) -> LockRef {
    LockRef { pid: PID, address }
}

/// A world under construction.
#[derive(Clone, Debug, Default)]
struct World(Facts);

impl World {
    fn thread(mut self, id: u32, activity: Activity, text: &str) -> Self {
        self.0.threads.push(Thread {
            id: tid(id),
            goid: None,
            comm: format!("t{id}"),
            activity,
            text: text.to_owned(),
            progress: Progress::Unknown,
        });
        self
    }

    fn lock(mut self, address: u64, waiters: u64) -> Self {
        self.0.locks.push(Lock {
            id: at(address),
            kind: Kind::Mutex,
            name: format!("m{address}"),
            site: None,
            waiters,
            oldest_wait_ns: None,
            oldest_is_at_least: false,
            shared: None,
            far: false,
            abandoned: false,
            looks: None,
            goroutines: false,
        });
        self
    }

    fn waits(mut self, thread: u32, lock: u64) -> Self {
        self.0.waits.push(Wait {
            thread: tid(thread),
            lock: at(lock),
            since_ns: None,
            at_least: false,
            site: None,
            confidence: Confidence::Exact,
        });
        self
    }

    fn held(mut self, lock: u64, thread: u32) -> Self {
        self.0.holds.push(Hold {
            lock: at(lock),
            thread: tid(thread),
            confidence: Confidence::Exact,
            known_by: "owner word".to_owned(),
            since_ns: None,
            at_least: false,
            site: None,
            any: false,
        });
        self
    }

    fn block(mut self, from: Id, to: Id, kind: LinkKind) -> Self {
        self.0.blocks.push(Block {
            from,
            to,
            kind,
            confidence: Confidence::Exact,
            text: String::new(),
            since_ns: None,
            site: None,
            any: false,
        });
        self
    }

    fn open(mut self, thread: u32) -> Self {
        self.0.open.push(Id::Thread(tid(thread)));
        self
    }

    fn explain(&self) -> Explained {
        explain(&self.0)
    }
}

fn of(explained: &Explained, address: u64) -> &Explanation {
    let mut rows = explained.locks.iter();
    rows.find(|((lock, _), _)| *lock == at(address)).unwrap().1
}

fn root_tid(explanation: &Explanation) -> u32 {
    match explanation.root {
        Node::Thread { tid, .. } => tid,
        ref other => panic!("{other:?} is no thread"),
    }
}

fn looks(handoffs: (u64, u64), waiters: (u64, u64)) -> Option<(Look, Look)> {
    let look = |at_ns, handoffs, waiters| Look {
        at_ns,
        handoffs,
        waiters,
    };
    Some((
        look(5 * SECOND, handoffs.0, waiters.0),
        look(6 * SECOND, handoffs.1, waiters.1),
    ))
}
