//! What goroutines wait for, as locks of the model.

use std::collections::HashMap;

use crate::{
    model::Kind,
    runtime::go::{
        Census,
        census::{Goroutine, Target},
        channel::Case,
        operation::{self, Operation},
    },
    sink::units,
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
    /// What has this semaphore; `None` for those of the runtime itself, which no program takes.
    pub fn at(semaphore: u64, operation: Operation) -> Option<Self> {
        (operation.kind != Kind::Runtime).then_some(())?;
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

/// Most cases of a `select` that are spelt out.
const MAX_CASES: usize = 4;

fn channel(census: &Census, case: &Case) -> String {
    let known = census.channels.get(&case.channel);
    let words = known.map_or_else(
        || format!("channel {:#x}", case.channel),
        |channel| channel.describe(),
    );
    match known.and_then(|channel| channel.due_ns) {
        None => words,
        Some(at_ns) => {
            let left = at_ns.saturating_sub(census.at_ns);
            format!(
                "{words} of a timer that is due in {}",
                units::duration(left)
            )
        }
    }
}

/// `3 channels: send to channel 0xc000012345 (full, 256 of 256), receive from ...`
fn cases(census: &Census, cases: &[Case]) -> String {
    let spelt = cases.iter().take(MAX_CASES).map(|case| {
        let what = if case.sends {
            "send to"
        } else {
            "receive from"
        };
        format!("{what} {}", channel(census, case))
    });
    let spelt: Vec<String> = spelt.collect();
    let more = match cases.len().saturating_sub(MAX_CASES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{} channels: {}{more}", cases.len(), spelt.join(", "))
}

/// What a goroutine waits for in words; empty when there is no more to say than its reason does.
#[must_use]
pub fn describe(census: &Census, goroutine: &Goroutine) -> String {
    match &goroutine.target {
        Target::Channels(channels) => match channels.as_ref() {
            [case] => channel(census, case),
            several => cases(census, several),
        },
        Target::Descriptor(fd, true) => format!("write to fd {fd}"),
        Target::Descriptor(fd, false) => format!("read from fd {fd}"),
        _ => match census.wakes_at_ns(goroutine) {
            Some(at_ns) => {
                let left = at_ns.saturating_sub(census.at_ns);
                format!("wakes in {}", units::duration(left))
            }
            None => String::new(),
        },
    }
}
