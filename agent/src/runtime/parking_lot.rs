//! `parking_lot` 0.11 and 0.12: the futex is a word of the waiting thread's own `ThreadData`, the lock's address is the
//! key it parked under, and the lock is one byte or word whose bits say that somebody is parked.
//!
//! Sources: `parking_lot_core` 0.9 `src/parking_lot.rs` (`ThreadData`), `parking_lot` 0.12 `src/raw_mutex.rs`,
//! `raw_rwlock.rs`, `condvar.rs`, `once.rs`. rustc orders the fields of `ThreadData` as it likes, so the key is looked
//! for, and taken only when the lock it points to has its parked bit set and the same pointer is on the waiter's stack.

use super::{Runtime, Verdict, Wait, name::Call};
use crate::{model::Kind, proc::memory::Memory};

/// The `parking_lot` crate.
pub(super) struct ParkingLot;

/// Name in reports.
pub const NAME: &str = "parking_lot";
/// Where the key can lie relative to the futex, as measured first: of five fields, the four pointer-sized ones come
/// before or after the rest.
const KEY_FROM_FUTEX: &[i64] = &[-32, 8, -24, -16, -8, 16, 24, 32];
/// Words of the waiter's stack looked at: `park` and `lock_slow` have large frames in unoptimised builds.
const STACK_WORDS: u64 = 256;

const MUTEX_LOCKED: u8 = 1;
const MUTEX_PARKED: u8 = 2;
const RWLOCK_PARKED: u64 = 1;
const RWLOCK_WRITER_PARKED: u64 = 2;
const RWLOCK_READERS_SHIFT: u32 = 4;
const MAX_READERS: u64 = 1 << 20;
const ONCE_PARKED: u8 = 8;
const ONCE_BITS: u8 = 15;
/// A writer that waits for the last reader to leave parks under the lock's address plus one.
const SECOND_KEY: u64 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Object {
    Mutex,
    Rwlock,
    /// As `Rwlock`, parked under the second key.
    RwlockLast,
    Condvar,
    Once,
}

impl Object {
    /// Whether its state is pointer-sized, and so aligned.
    fn is_word(self) -> bool {
        !matches!(self, Self::Mutex | Self::Once)
    }
}

fn rule(call: &Call<'_>) -> Option<(Kind, Object)> {
    if !call.name.starts_with("parking_lot::") {
        return None;
    }
    match call.last() {
        "lock_slow" => Some((Kind::Mutex, Object::Mutex)),
        "lock_shared_slow" => Some((Kind::RwlockRead, Object::Rwlock)),
        "lock_exclusive_slow" | "lock_upgradable_slow" => Some((Kind::RwlockWrite, Object::Rwlock)),
        "wait_for_readers" | "upgrade_slow" => Some((Kind::RwlockWrite, Object::RwlockLast)),
        "wait_until_internal" | "wait" | "wait_for" | "wait_until"
            if call.name.contains("ondvar::") =>
        {
            Some((Kind::Condvar, Object::Condvar))
        }
        "call_once_slow" => Some((Kind::Once, Object::Once)),
        _ => None,
    }
}

impl Runtime for ParkingLot {
    fn by_calls(&self, wait: &Wait<'_>, calls: &[Call<'_>]) -> Option<Verdict> {
        let Some((kind, object, call)) = calls
            .iter()
            .find_map(|call| rule(call).map(|(kind, object)| (kind, object, call)))
        else {
            return calls
                .iter()
                .any(|call| call.name.starts_with("parking_lot_core::"))
                .then(|| {
                    Verdict::unknown(wait, Some(NAME), "parking_lot_core::park by another crate")
                });
        };
        let found = key(wait, object);
        let evidence = match found {
            Some(_) => format!("called from {}", call.name),
            None => format!(
                "called from {}; address is the waiter's own parker",
                call.name
            ),
        };
        Some(Verdict::new(
            kind,
            NAME,
            found.unwrap_or(wait.address),
            evidence,
        ))
    }
}

/// Where the key lies from a thread's futex word, if it is `lock` that the thread parks or parked for.
pub fn place(memory: &impl Memory, word: u64, lock: u64) -> Option<i64> {
    let mut places = KEY_FROM_FUTEX.iter().copied();
    places.find(|&place| parked_for(memory, word, place, lock))
}

/// Whether the thread with this futex word parks, or parked last, for `lock`.
pub fn parked_for(memory: &impl Memory, word: u64, place: i64, lock: u64) -> bool {
    word.checked_add_signed(place)
        .and_then(|address| memory.u64(address))
        == Some(lock)
}

/// The key in the waiter's `ThreadData`: the first of the places where it can be whose lock has somebody parked.
fn key(wait: &Wait<'_>, object: Object) -> Option<u64> {
    KEY_FROM_FUTEX.iter().find_map(|offset| {
        let pointer = wait.memory.u64(wait.address.checked_add_signed(*offset)?)?;
        lock(wait, object, pointer).filter(|lock| on_stack(wait, *lock))
    })
}

/// The lock behind a key, if its state says that somebody is parked.
fn lock(wait: &Wait<'_>, object: Object, key: u64) -> Option<u64> {
    let byte = |address| {
        let mut byte = [0];
        wait.memory.read(address, &mut byte).then(|| byte[0])
    };
    let address = match object {
        Object::RwlockLast => key.checked_sub(SECOND_KEY)?,
        _ => key,
    };
    // A condition variable's waiters may have been moved to its mutex.
    let fits = match object {
        Object::Mutex => {
            let state = byte(address)?;
            state & MUTEX_PARKED != 0 && state & !(MUTEX_LOCKED | MUTEX_PARKED) == 0
        }
        Object::Rwlock => rwlock(wait.memory.u64(address)?, RWLOCK_PARKED),
        Object::RwlockLast => rwlock(wait.memory.u64(address)?, RWLOCK_WRITER_PARKED),
        Object::Condvar => {
            let mutex = wait.memory.u64(address)?;
            mutex != 0 && byte(mutex)? & !(MUTEX_LOCKED | MUTEX_PARKED) == 0
        }
        Object::Once => {
            let state = byte(address)?;
            state & ONCE_PARKED != 0 && state & !ONCE_BITS == 0
        }
    };
    (fits && (address % 8 == 0 || !object.is_word())).then_some(address)
}

/// Whether a lock's state says that somebody is parked under this bit, behind a writer or a believable number of
/// readers.
fn rwlock(state: u64, parked: u64) -> bool {
    state & parked != 0 && state > 3 && state >> RWLOCK_READERS_SHIFT < MAX_READERS
}

/// Whether the waiter's stack holds a pointer to the lock; true when its stack is not known.
fn on_stack(wait: &Wait<'_>, lock: u64) -> bool {
    wait.sp == 0
        || (0..STACK_WORDS)
            .map_while(|index| wait.u64_at(wait.sp, index * 8))
            .any(|word| word == lock)
}
