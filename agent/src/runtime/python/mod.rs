//! CPython 3.2 to 3.13 on Linux: `PyThread_type_lock` is a POSIX semaphore, whose address is the lock's identity, and
//! the GIL is a mutex with a condition variable. 3.14 parks on a semaphore of the waiter's own stack.
//!
//! A `threading.Lock` is reported as `unknown` unless an `RLock` or a lock object's internals called: `Condition.wait`,
//! `Queue.get` and `Event.wait` block in the same `Lock.acquire`, so idle workers and a contended lock look the same
//! from native frames. An `RLock` is also known by its memory, and so is its owner: see [`rlock`]. Sources: `Python/thread_pthread.h`, `Modules/_threadmodule.c`, `Python/ceval_gil.c`,
//! `Python/parking_lot.c`, `Python/lock.c`.

mod rlock;

use super::{
    Runtime, Verdict, Wait,
    name::Call,
    posix::{self, Posix},
};
use crate::model::Kind;

/// CPython.
pub(super) struct Python;

/// Name in reports.
const NAME: &str = "python";

/// File names of the interpreter, as prefixes.
const INTERPRETER: &[&str] = &["python3", "libpython3"];
/// The extension module of `SimpleQueue`.
pub(super) const QUEUE_MODULE: &[&str] = &["_queue."];

#[derive(Clone, Copy)]
enum Rule {
    Gil,
    Reentrant,
    Lock,
    InternalMutex,
    Queue,
    Join,
}

const FUNCTIONS: &[(&str, Rule)] = &[
    ("take_gil", Rule::Gil),
    ("rlock_acquire", Rule::Reentrant),
    ("_PyRecursiveMutex_Lock", Rule::Reentrant),
    ("_queue_SimpleQueue_get_impl", Rule::Queue),
    ("_queue_SimpleQueue_get", Rule::Queue),
    ("ThreadHandle_join", Rule::Join),
    ("_PyMutex_LockTimed", Rule::InternalMutex),
    ("_PyMutex_LockSlow", Rule::InternalMutex),
    ("PyMutex_Lock", Rule::InternalMutex),
    ("lock_PyThread_acquire_lock", Rule::Lock),
    ("PyThread_acquire_lock_timed", Rule::Lock),
    ("PyThread_acquire_lock", Rule::Lock),
];

impl Runtime for Python {
    fn by_calls(&self, wait: &Wait<'_>, calls: &[Call<'_>]) -> Option<Verdict> {
        // The semaphore or condition variable underneath, whose layout the C library knows.
        let below = Posix.by_calls(wait, calls);
        let rule =
            rule(calls).or_else(|| waits_for_gil(wait, below.as_ref()).then_some(Rule::Gil))?;
        let address = below.map_or(wait.address, |verdict| verdict.address);
        let owner = match rule {
            Rule::Reentrant | Rule::Lock => rlock::owner(wait),
            _ => None,
        };
        if owner.is_some() {
            let evidence = "the lock of a threading.RLock, which says who owns it";
            return Some(Verdict::new(Kind::Mutex, NAME, address, evidence).owned(owner));
        }
        let (kind, evidence) = match rule {
            // A lock in all but name: exactly one thread holds it and must let go.
            Rule::Gil => (Kind::Mutex, "waits for the global interpreter lock"),
            Rule::Reentrant => (Kind::Mutex, "called from threading.RLock"),
            Rule::Queue => (Kind::Condvar, "waits for an item of a SimpleQueue"),
            Rule::Join => (Kind::Join, "waits for a Python thread to end"),
            Rule::InternalMutex if !calls.iter().any(|call| call.name.starts_with("lock_")) => {
                (Kind::Mutex, "called from PyMutex_Lock")
            }
            Rule::InternalMutex | Rule::Lock => (
                Kind::Unknown,
                "threading.Lock: a lock, or a Condition, Event or Queue waiting for news",
            ),
        };
        Some(Verdict::new(kind, NAME, address, evidence))
    }
}

/// The innermost names are the same for all uses; the order of the table puts those that tell the use first.
fn rule(calls: &[Call<'_>]) -> Option<Rule> {
    if calls.iter().any(|call| call.in_module(QUEUE_MODULE)) {
        return Some(Rule::Queue);
    }
    FUNCTIONS
        .iter()
        .find(|(name, _)| calls.iter().any(|call| call.name == *name))
        .map(|(_, rule)| *rule)
}

/// Distributions strip `take_gil`'s name, but it is CPython's only use of condition variables: locks are semaphores.
fn waits_for_gil(wait: &Wait<'_>, below: Option<&Verdict>) -> bool {
    below.is_some_and(|verdict| verdict.kind == Kind::Condvar)
        && wait
            .frames
            .iter()
            .map(Call::of)
            .find(|call| !call.in_module(posix::GLIBC) && !call.in_module(posix::MUSL))
            .is_some_and(|call| call.in_module(INTERPRETER))
}
