//! Places in the code: in which function, how far into it.

use std::{collections::HashSet, rc::Rc, time::Instant};

use super::{
    Known,
    calls::{self, Target},
};
use crate::{
    model::RawFrame,
    report::holder::parts::Sleeper,
    runtime,
    symbol::{Space, Symbols},
};

/// Different stacks of waiters that are looked at for one lock.
const MAX_STACKS: usize = 32;
/// Frames of one stack that are named.
const MAX_FRAMES: usize = 64;

/// A place in a function as it lies in memory: what was inlined into it is part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Module and name of the function.
    pub function: Rc<(Option<String>, String)>,
    /// Address in the module.
    pub offset: u64,
    /// Found by scanning the stack: it may be left over from an earlier call.
    pub guessed: bool,
}

impl Place {
    /// Whether it is in the same function, further on.
    fn is_past(&self, other: &Self) -> bool {
        self.function == other.function && self.offset > other.offset
    }
}

/// Names places of one process, each address once.
pub struct Places {
    space: Space,
    known: Known,
}

impl Places {
    /// None are known yet.
    pub fn new(space: Space) -> Self {
        Self {
            space,
            known: Known::new(),
        }
    }

    /// Places of a stack, innermost first; those without a name are left out.
    pub fn of_stack(&mut self, stack: &[RawFrame], symbols: &mut Symbols) -> Vec<Place> {
        stack
            .iter()
            .take(MAX_FRAMES)
            .filter_map(|frame| self.of_frame(frame, symbols))
            .collect()
    }

    fn of_frame(&mut self, frame: &RawFrame, symbols: &mut Symbols) -> Option<Place> {
        let place = self.named(frame, symbols)?;
        Some(Place {
            guessed: frame.guessed,
            ..place
        })
    }

    fn named(&mut self, frame: &RawFrame, symbols: &mut Symbols) -> Option<Place> {
        if let Some(known) = self.known.get(&frame.address) {
            return known.clone();
        }
        let named = symbols.symbolize(self.space, std::slice::from_ref(frame));
        let place = named.into_iter().next_back().and_then(|outer| {
            Some(Place {
                function: Rc::new((outer.module, outer.function?)),
                offset: outer.offset,
                guessed: false,
            })
        });
        self.known.insert(frame.address, place.clone());
        place
    }
}

/// Where the waiters of a lock call for it.
#[derive(Clone, Debug, Default)]
pub struct Sites {
    /// In the innermost function of the application.
    inner: HashSet<Place>,
    /// In the function that calls that one, which may be no more than a wrapper of the lock; and what is not certain.
    callers: HashSet<Place>,
    /// What is called there.
    pub targets: Vec<Target>,
}

impl Sites {
    /// The sites of these waiters.
    pub fn of(
        waiters: &[Sleeper],
        places: &mut Places,
        symbols: &mut Symbols,
        deadline: Instant,
    ) -> Self {
        let mut sites = Self::default();
        let mut seen = HashSet::new();
        for waiter in waiters {
            if seen.len() >= MAX_STACKS || Instant::now() >= deadline {
                break;
            }
            if waiter.stack.is_empty() || !seen.insert(&waiter.stack) {
                continue;
            }
            let Some(index) = application(&waiter.stack, places.space, symbols) else {
                continue;
            };
            let target = waiter.stack.get(index);
            if let Some(target) = target.and_then(|frame| calls::target(places.space, frame))
                && !sites.targets.contains(&target)
            {
                sites.targets.push(target);
            }
            let place = |index: usize, places: &mut Places, symbols: &mut Symbols| {
                places.of_frame(waiter.stack.get(index)?, symbols)
            };
            match place(index, places, symbols) {
                Some(place) if place.guessed => drop(sites.callers.insert(place)),
                place => sites.inner.extend(place),
            }
            sites.callers.extend(place(index + 1, places, symbols));
        }
        sites
    }

    /// The function in which one of these frames is past the place where the waiters call for the lock.
    pub fn inner_past(&self, frames: &[Place]) -> Option<String> {
        past(&self.inner, frames.iter().filter(|frame| !frame.guessed))
    }

    /// The same for the callers of those functions, and for frames that are not certain.
    pub fn caller_past(&self, frames: &[Place]) -> Option<String> {
        past(&self.callers, frames.iter()).or_else(|| past(&self.inner, frames.iter()))
    }
}

fn past<'a>(sites: &HashSet<Place>, mut frames: impl Iterator<Item = &'a Place>) -> Option<String> {
    let frame = frames.find(|frame| sites.iter().any(|site| frame.is_past(site)))?;
    Some(frame.function.1.clone())
}

/// Index of the innermost frame that has code of the application in it; `None` when there is none, or nothing but that:
/// then it is not known which function calls for the lock.
fn application(stack: &[RawFrame], space: Space, symbols: &mut Symbols) -> Option<usize> {
    let mut named = Vec::new();
    for (index, frame) in stack.iter().take(MAX_FRAMES).enumerate() {
        named.extend(symbols.symbolize(space, std::slice::from_ref(frame)));
        // As long as all of it is machinery, all of it is given back.
        if runtime::application_frames(&named).len() < named.len() {
            return Some(index);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(function: &str, offset: u64) -> Place {
        Place {
            function: Rc::new((Some("/bin/app".to_owned()), function.to_owned())),
            offset,
            guessed: false,
        }
    }

    #[test]
    fn past_is_the_same_function_further_on() {
        let sites = Sites {
            inner: [place("work", 0x110)].into(),
            callers: [place("main_loop", 0x500)].into(),
            targets: Vec::new(),
        };
        let at = |frames: &[Place]| sites.inner_past(frames);
        assert_eq!(
            at(&[place("recv", 1), place("work", 0x111)]),
            Some("work".to_owned())
        );
        assert_eq!(at(&[place("work", 0x110)]), None, "in the call itself");
        assert_eq!(at(&[place("work", 0x10)]), None, "before it");
        assert_eq!(at(&[place("other", 0x200)]), None, "elsewhere");
        assert_eq!(at(&[place("main_loop", 0x600)]), None);
        assert_eq!(
            sites.caller_past(&[place("main_loop", 0x600)]),
            Some("main_loop".to_owned())
        );
        let elsewhere = Place {
            function: Rc::new((None, "work".to_owned())),
            offset: 0x200,
            guessed: false,
        };
        assert_eq!(at(&[elsewhere]), None, "another module's");
        let guessed = Place {
            guessed: true,
            ..place("work", 0x200)
        };
        assert_eq!(at(std::slice::from_ref(&guessed)), None);
        assert!(sites.caller_past(&[guessed]).is_some());
    }
}
