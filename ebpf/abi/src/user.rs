//! Marks the shared structures as plain bytes for aya.

use crate::{
    census::Task,
    config::Config,
    golang::{Goroutine, Wait},
    hold::{BesideKey, Holds, Tally},
    lock::{Lock, LockKey},
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
    BesideKey, Task, Config, Holds, Lock, LockKey, Tally, Thread, Goroutine, Wait
);
