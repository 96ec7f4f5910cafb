//! One lock, told by one goroutine that waits for it.

use super::{frames, locks, wait::Awaited};
use crate::{
    model::Kind,
    report::name,
    runtime::{
        self,
        go::{Program, census::Stack},
    },
    symbol::{Space, Symbols},
};

/// What a lock goes by, in the words of a report on all goroutines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its address.
    pub address: u64,
    /// What it is to who waits.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// Its name, in static storage.
    pub symbol: Option<String>,
    /// Where it is waited for.
    pub site: Option<String>,
}

/// Names the lock that this semaphore is part of.
#[must_use]
pub fn name(
    program: &Program,
    stack: &Stack,
    semaphore: u64,
    space: Space,
    symbols: &mut Symbols,
) -> Option<Named> {
    let awaited = Awaited::at(semaphore, stack.operation)?;
    let frames = frames::of(program, stack);
    let lead = runtime::application_frames(&frames);
    let (id, symbol) = locks::identify(awaited, lead, space, symbols);
    Some(Named {
        address: awaited.address,
        kind: awaited.kind,
        id,
        symbol,
        site: lead.first().map(name::place),
    })
}
