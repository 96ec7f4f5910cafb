//! What to call a lock: see [`crate::runtime::identity`].

use std::collections::HashMap;

use super::{
    lock::Sources,
    reach::place::{Place, Sharing},
    stacks::RawStack,
};
use crate::{
    model::{Frame, Kind},
    runtime::{self, identity},
    symbol::Space,
};

/// Stable id, and the name of a lock in static storage or in a named object of shared memory.
pub fn identify(
    space: Space,
    address: u64,
    kind: Kind,
    place: Option<&Place>,
    lead: Option<&(RawStack, Vec<Frame>)>,
    sources: &mut Sources<'_>,
) -> (String, Option<String>) {
    if let Some(place) = place {
        let program = sources.processes.latest(space.pid).exe.unwrap_or_default();
        let object = place.name.as_deref();
        let id = identity::shared_lock(object, &program, place.offset, kind);
        return (id, place.label());
    }
    let symbols = &mut *sources.symbols;
    if let Some(location) = symbols.locate(space, address) {
        let module = location.build_id.as_deref().unwrap_or(&location.module);
        return (
            identity::static_lock(module, location.offset, kind),
            location.symbol,
        );
    }
    let Some((stack, frames)) = lead else {
        return (identity::wait_site(kind, &[]), None);
    };
    // Build ids by module path: frames carry paths, which differ between machines.
    let modules: HashMap<String, String> = stack
        .iter()
        .filter_map(|frame| symbols.locate(space, frame.address))
        .filter_map(|location| Some((location.module, location.build_id?)))
        .collect();
    let place: Vec<(Option<&str>, u64)> = runtime::application_frames(frames)
        .iter()
        .take(identity::SITE_FRAMES)
        .map(|frame| {
            let module = frame.module.as_deref();
            (
                module.map(|path| modules.get(path).map_or(path, String::as_str)),
                frame.offset,
            )
        })
        .collect();
    (identity::wait_site(kind, &place), None)
}

/// Where a lock object lies, if processes share it: from where its words do, each given with its distance from the
/// object's beginning.
pub fn place<'a>(mut words: impl Iterator<Item = (Option<u64>, &'a Sharing)>) -> Option<Place> {
    words.find_map(|(inside, sharing)| {
        let word = sharing.place()?;
        Some(Place {
            offset: word.offset.checked_sub(inside?)?,
            ..word.clone()
        })
    })
}
