//! What a goroutine that waits for a semaphore wanted, from the names of the functions it called. Sources:
//! `src/sync/{mutex,rwmutex,waitgroup,once}.go`, `src/internal/sync/mutex.go`, `src/internal/poll/fd_mutex.go`.

use super::pclntab::Named;
use crate::model::Kind;

/// A way to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    /// Kind of lock.
    pub kind: Kind,
    /// Its type in Go.
    pub of: &'static str,
    /// Offset of the semaphore in it.
    pub offset: u64,
}

const fn operation(kind: Kind, of: &'static str, offset: u64) -> Operation {
    Operation { kind, of, offset }
}

/// `state int32, sema uint32`.
const MUTEX: Operation = operation(Kind::Mutex, "sync.Mutex", 4);
/// `done, m Mutex`.
const ONCE: Operation = operation(Kind::Once, "sync.Once", 8);
/// `w Mutex, writerSem, readerSem uint32, readerCount, readerWait int32`: behind other writers, behind readers, and as
/// a reader.
const WRITER_QUEUE: Operation = operation(Kind::RwlockWrite, "sync.RWMutex", 4);
const WRITER: Operation = operation(Kind::RwlockWrite, "sync.RWMutex", 8);
const READER: Operation = operation(Kind::RwlockRead, "sync.RWMutex", 12);
/// `state uint64, sema uint32`.
const WAIT_GROUP: Operation = operation(Kind::Join, "sync.WaitGroup", 8);
/// `state uint64, rsema, wsema uint32`, at the start of a `poll.FD`.
const FD_READER: Operation = operation(Kind::Mutex, "poll.FD (readers)", 8);
const FD_WRITER: Operation = operation(Kind::Mutex, "poll.FD (writers)", 12);
/// The semaphore alone.
const SEMAPHORE: Operation = operation(Kind::Semaphore, "semaphore", 0);

/// A semaphore of the runtime's own: the garbage collector's, or one to stop the world.
const RUNTIME: Operation = operation(Kind::Runtime, "semaphore of the runtime", 0);

/// Functions by the end of their names, innermost first, that tell: the first that is on the stack decides, but those of
/// what embeds a mutex come before the mutex.
const TABLE: &[(&str, &str, Operation)] = &[
    ("(*Mutex).lockSlow", "sync.(*RWMutex).Lock", WRITER_QUEUE),
    ("(*Mutex).lockSlow", "sync.(*Once).doSlow", ONCE),
    ("(*Mutex).lockSlow", "", MUTEX),
    ("sync.(*RWMutex).RLock", "", READER),
    ("sync.(*RWMutex).rLockSlow", "", READER),
    ("sync.(*RWMutex).Lock", "", WRITER),
    ("sync.(*WaitGroup).Wait", "", WAIT_GROUP),
    (
        "internal/poll.(*fdMutex).rwlock",
        "internal/poll.(*FD).readLock",
        FD_READER,
    ),
    (
        "internal/poll.(*fdMutex).rwlock",
        "internal/poll.(*FD).writeLock",
        FD_WRITER,
    ),
    (
        "internal/poll.(*fdMutex).rwlock",
        "internal/poll.(*FD).Read",
        FD_READER,
    ),
    ("internal/poll.(*fdMutex).rwlock", "", FD_WRITER),
];

/// The same by wait reason, where functions do not tell; from Go 1.20 on.
const REASONS: &[(&str, Operation)] = &[
    ("sync.Mutex.Lock", MUTEX),
    ("sync.RWMutex.RLock", READER),
    ("sync.RWMutex.Lock", WRITER),
    ("sync.WaitGroup.Wait", WAIT_GROUP),
];

/// Functions between what a program calls and where its goroutine parks.
const PARKING: [&str; 5] = [
    "runtime.gopark",
    "runtime.goparkunlock",
    "runtime.(*semaRoot).queue",
    "runtime.semacquire1",
    "runtime.semacquire",
];

/// Whether a function is only how a goroutine comes to park on a semaphore.
#[must_use]
pub fn is_parking(name: &str) -> bool {
    PARKING.contains(&name)
        || name
            .split_once(".runtime_")
            .is_some_and(|(_, function)| function.starts_with("Semacquire"))
}

/// Tells what was wanted. `frames` are innermost first, with what was inlined.
#[must_use]
pub fn of(frames: &[Named], reason: &str) -> Operation {
    let names = frames.iter().map(|frame| frame.function.as_str());
    let mut calls = names.skip_while(|name| is_parking(name)).peekable();
    if calls
        .peek()
        .is_some_and(|name| name.starts_with("runtime."))
    {
        return RUNTIME;
    }
    let (Some(innermost), caller) = (
        calls.next(),
        calls.find(|name| !name.ends_with("(*Mutex).Lock")),
    ) else {
        return by_reason(reason);
    };
    TABLE
        .iter()
        .find(|(function, outer, _)| {
            innermost.ends_with(function)
                && (outer.is_empty() || caller.is_some_and(|caller| caller.starts_with(outer)))
        })
        .map_or_else(|| by_reason(reason), |(_, _, operation)| *operation)
}

fn by_reason(reason: &str) -> Operation {
    REASONS
        .iter()
        .find(|(words, _)| *words == reason)
        .map_or(SEMAPHORE, |(_, operation)| *operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Vec<Named> {
        names
            .iter()
            .map(|name| Named {
                function: (*name).to_owned(),
                file: None,
                line: None,
                inlined: false,
                is_wrapper: false,
            })
            .collect()
    }

    #[test]
    fn by_functions() {
        let parked = [
            "runtime.gopark",
            "runtime.goparkunlock",
            "runtime.semacquire1",
        ];
        for (calls, expected) in [
            (
                &[
                    "sync.runtime_SemacquireMutex",
                    "sync.(*Mutex).lockSlow",
                    "sync.(*Mutex).Lock",
                    "main.f",
                ][..],
                MUTEX,
            ),
            (
                &["runtime.semacquire", "runtime.gcStart", "main.f"],
                RUNTIME,
            ),
            (
                &[
                    "internal/sync.runtime_SemacquireMutex",
                    "internal/sync.(*Mutex).lockSlow",
                    "internal/sync.(*Mutex).Lock",
                    "sync.(*Mutex).Lock",
                    "sync.(*RWMutex).Lock",
                    "main.f",
                ],
                WRITER_QUEUE,
            ),
            (
                &[
                    "sync.runtime_SemacquireMutex",
                    "sync.(*Mutex).lockSlow",
                    "sync.(*Mutex).Lock",
                    "sync.(*Once).doSlow",
                ],
                ONCE,
            ),
            (
                &[
                    "sync.runtime_SemacquireRWMutexR",
                    "sync.(*RWMutex).RLock",
                    "main.f",
                ],
                READER,
            ),
            // 1.19 has one function for both.
            (
                &[
                    "sync.runtime_SemacquireMutex",
                    "sync.(*RWMutex).Lock",
                    "main.f",
                ],
                WRITER,
            ),
            (
                &["sync.runtime_Semacquire", "sync.(*WaitGroup).Wait"],
                WAIT_GROUP,
            ),
            (
                &[
                    "internal/poll.runtime_Semacquire",
                    "internal/poll.(*fdMutex).rwlock",
                    "internal/poll.(*FD).writeLock",
                    "internal/poll.(*FD).Write",
                ],
                FD_WRITER,
            ),
            (
                &[
                    "internal/poll.runtime_Semacquire",
                    "internal/poll.(*fdMutex).rwlock",
                    "internal/poll.(*FD).readLock",
                ],
                FD_READER,
            ),
            (&["main.(*Mutex).Lock"], SEMAPHORE),
            (&[], SEMAPHORE),
        ] {
            let mut names = parked.to_vec();
            names.extend(calls);
            assert_eq!(of(&named(&names), "semacquire"), expected, "{calls:?}");
        }
    }

    #[test]
    fn what_is_only_parking() {
        for name in [
            "runtime.gopark",
            "runtime.(*semaRoot).queue",
            "runtime.semacquire1",
            "sync.runtime_SemacquireRWMutexR",
            "internal/poll.runtime_Semacquire",
        ] {
            assert!(is_parking(name), "{name}");
        }
        for name in [
            "runtime.gcStart",
            "sync.(*Mutex).lockSlow",
            "internal/poll.runtime_pollWait",
            "",
        ] {
            assert!(!is_parking(name), "{name}");
        }
    }

    #[test]
    fn by_reason_when_functions_do_not_tell() {
        assert_eq!(of(&[], "sync.RWMutex.RLock"), READER);
        assert_eq!(of(&named(&["runtime.gopark"]), "sync.Mutex.Lock"), MUTEX);
    }
}
