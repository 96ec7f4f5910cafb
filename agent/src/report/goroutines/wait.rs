//! What goroutines wait for, as locks of the model.

use std::collections::HashMap;

use crate::{
    model::Kind,
    runtime::go::{
        Census,
        census::{Goroutine, Target},
        operation::{self, Operation},
    },
};

/// A lock, as one kind of waiter sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Awaited {
    /// Its address.
    pub address: u64,
    /// What it is to the waiter.
    pub kind: Kind,
    /// Its type in Go.
    pub of: &'static str,
}

impl Awaited {
    /// What has this semaphore.
    pub fn at(semaphore: u64, operation: Operation) -> Option<Self> {
        Some(Self {
            address: semaphore.checked_sub(operation.offset)?,
            kind: operation.kind,
            of: operation.of,
        })
    }
}

/// Tells what goroutines wait for.
#[derive(Debug, Default)]
pub struct Waits {
    /// What those want who wait for a semaphore, by its address: told by those whose stacks are known.
    operations: HashMap<u64, Operation>,
}

impl Waits {
    /// Learns from the stacks that are known.
    #[must_use]
    pub fn of(census: &Census) -> Self {
        let operations = census
            .goroutines
            .iter()
            .filter_map(|goroutine| match goroutine.target {
                Target::Semaphore(address) => Some((address, census.stack(goroutine)?.operation)),
                _ => None,
            })
            .collect();
        Self { operations }
    }

    /// Takes what is known of a semaphore otherwise, unless somebody who waits for it told; returns what it is part of.
    pub fn learn(&mut self, semaphore: u64, tell: impl FnOnce() -> Operation) -> Option<Awaited> {
        let operation = self.operations.entry(semaphore).or_insert_with(tell);
        Awaited::at(semaphore, *operation)
    }

    /// The lock, `WaitGroup` or condition variable that a goroutine waits for.
    #[must_use]
    pub fn awaited(&self, census: &Census, goroutine: &Goroutine) -> Option<Awaited> {
        match goroutine.target {
            Target::Semaphore(semaphore) => {
                let own = census.stack(goroutine).map(|stack| stack.operation);
                let others = || self.operations.get(&semaphore).copied();
                let operation = own
                    .or_else(others)
                    .unwrap_or_else(|| operation::of(&[], census.reason(goroutine)));
                Awaited::at(semaphore, operation)
            }
            Target::Cond(address) => Some(Awaited {
                address,
                kind: Kind::Condvar,
                of: "sync.Cond",
            }),
            _ => None,
        }
    }
}

/// What a goroutine waits for in words; empty when there is no more to say than its reason does.
#[must_use]
pub fn describe(census: &Census, goroutine: &Goroutine) -> String {
    match &goroutine.target {
        Target::Channels(channels) => match channels.as_ref() {
            [channel] => census.channels.get(channel).map_or_else(
                || format!("channel {channel:#x}"),
                |channel| channel.describe(),
            ),
            several => format!("{} channels", several.len()),
        },
        Target::Descriptor(fd, true) => format!("write to fd {fd}"),
        Target::Descriptor(fd, false) => format!("read from fd {fd}"),
        _ => String::new(),
    }
}
