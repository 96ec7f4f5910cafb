//! Taking slots of the lock array back, while the kernel side goes on counting, without losing a wait or counting one
//! twice.
//!
//! A wait is counted in (`waiters` + 1) and out (outcome + 1, `waiters` - 1) in the slot that its thread found when it began.
//! A program finds a slot S of a word K in one of three ways:
//!
//! 1. to begin, by the number that the thread remembers, if K is in S and S is not retired (`lock::in_slot`)
//! 2. to begin, by the hash K -> S, whether S is retired or not (`lock::even_retired`)
//! 3. to end a wait, by the number that it began with, retired or not
//!
//! The agent takes S back in these steps:
//!
//! 1. Remove K from the hash, then mark S as retired. From now on no program that starts finds S to begin: not by the
//!    hash, and not by number. If it wants K, it makes a new slot S', which is counted apart; the rows of S and S' add up.
//! 2. Wait until all programs that run have ended ([`super::grace`]). Those that had found S before step 1 have counted
//!    their wait in by now, so that `waiters` says whether S is in use, and it can only fall.
//! 3. If somebody waits in S, put K back into the hash if it is not there (no S' was made), and lift the mark: S is an
//!    ordinary slot again. Is there an S', S stays retired; its waiters end there, and it is tried again later.
//! 4. Else nobody waits in S, nobody will, and the last who did have counted their waits out, or are about to: `waiters` is
//!    lowered first. Wait once more until all programs have ended: what S holds now is final.
//! 5. Show it once more, clear S, and put it into the queue of free slots. No program can have S in its hands: those that
//!    start to begin do not find it (1), and nobody is left to end (4).
//!
//! Slots of a process that has ended are taken back whatever `waiters` says: none of its threads can run a program.
//! A number that a thread remembers of S for another word than the slot's is seen to be stale, since K is compared; a hold that
//! began before S was given to its present word is told by `born_ns`. What can be missed between steps 1 and 3 is not a wait
//! but a wake (`wakes`, which is for information) of a word that came into use again just then.

use holdup_abi::lock::LockKey;

use super::{
    grace::Grace,
    table::{Place, Table},
};
use crate::{
    ingest::plane::{Plane, PlaneError},
    watch::bell::Waker,
};

/// Slots taken back at one time: some microseconds each.
const BATCH: usize = 16_384;

/// Slots on their way back.
#[derive(Debug)]
pub(super) struct Reclaim {
    grace: Option<Grace>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Nothing,
    /// Retired: programs that found them before may still be running.
    Retired(Vec<(Place, LockKey)>),
    /// Nobody waits: the last one may still be counting itself out.
    Empty(Vec<(Place, LockKey)>),
}

impl Reclaim {
    /// Without the privileges to wait for programs, nothing is ever taken back.
    pub(super) fn new(waker: Waker) -> Self {
        Self {
            grace: Grace::start(waker).ok(),
            stage: Stage::Nothing,
        }
    }

    /// The plane is gone, and its slots with it.
    pub(super) fn forget(&mut self) {
        self.stage = Stage::Nothing;
    }

    /// Whether another batch can be started.
    pub(super) const fn is_free(&self) -> bool {
        matches!(self.stage, Stage::Nothing)
    }

    /// Step 1 for the words at these places.
    pub(super) fn start(
        &mut self,
        places: &[Place],
        table: &Table,
        plane: &mut Plane,
    ) -> Result<(), PlaneError> {
        let Some(grace) = self.grace.as_mut().filter(|grace| grace.is_over()) else {
            return Ok(());
        };
        let mut retired = Vec::new();
        for &place in places.iter().take(BATCH) {
            let Some(key) = table.words().get(place).map(|word| word.key) else {
                continue;
            };
            let Some(head) = plane.locks.head(place).filter(|head| head.key == key) else {
                continue;
            };
            // One that the hash does not have is either tried again, or the kernel side is giving it back itself.
            if !head.is_retired {
                if !plane.unlist(&key, place)? {
                    continue;
                }
                plane.locks.set_retired(place, true);
            }
            retired.push((place, key));
        }
        if !retired.is_empty() {
            grace.ask();
            self.stage = Stage::Retired(retired);
        }
        Ok(())
    }

    /// Steps 3 and 4 when it is time.
    pub(super) fn advance(
        &mut self,
        table: &mut Table,
        plane: &mut Plane,
    ) -> Result<(), PlaneError> {
        let Some(grace) = self.grace.as_mut().filter(|grace| grace.is_over()) else {
            return Ok(());
        };
        let Stage::Retired(retired) = &mut self.stage else {
            return Ok(());
        };
        let mut empty = Vec::with_capacity(retired.len());
        for (place, key) in std::mem::take(retired) {
            let waiters = plane.locks.head(place).map_or(0, |head| head.waiters);
            if waiters == 0 || table.has_ended(&key) {
                empty.push((place, key));
            } else if plane.list(&key, place)? {
                plane.locks.set_retired(place, false);
            }
        }
        self.stage = if empty.is_empty() {
            Stage::Nothing
        } else {
            grace.ask();
            Stage::Empty(empty)
        };
        Ok(())
    }

    /// Step 5 when it is time: the words' last counts are in the next view.
    pub(super) fn finish(
        &mut self,
        table: &mut Table,
        plane: &mut Plane,
    ) -> Result<(), PlaneError> {
        let is_over = self.grace.as_ref().is_some_and(Grace::is_over);
        let Stage::Empty(empty) = &mut self.stage else {
            return Ok(());
        };
        if !is_over {
            return Ok(());
        }
        let mut slots = Vec::with_capacity(empty.len());
        for (place, key) in std::mem::take(empty) {
            if table.words().get(place).is_some_and(|word| word.key == key) {
                table.finish(place, &plane.locks);
            }
            plane.locks.clear(place);
            slots.push(place);
        }
        self.stage = Stage::Nothing;
        plane.free(&slots)
    }
}
