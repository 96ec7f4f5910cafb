//! Marks the shared structures as plain bytes for aya.

use crate::{
    census::Task,
    config::Config,
    entry,
    golang::{Goroutine, Wait},
    hold::{BesideKey, Holds, Tally},
    lock::{Lock, LockKey},
    slow::Note,
    thread::Thread,
};

macro_rules! pod {
    ($($ty:ty),+) => {
        $(
            // SAFETY: `repr(C)`, only integers and arrays of them, no implicit padding that is read back.
            unsafe impl aya::Pod for $ty {}
        )+
    };
}

pod!(
    BesideKey, Task, Config, Goroutine, Holds, Lock, LockKey, Note, Tally, Thread, Wait
);
pod!(entry::Edge, entry::EdgeKey, entry::Lock, entry::Thread);
