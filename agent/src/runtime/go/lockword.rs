//! What locks say of themselves: whether they are held, by readers or a writer, and how many are still awaited. Sources:
//! `src/sync/{mutex,rwmutex,waitgroup}.go`, the same in every release from 1.19 on.

use crate::{
    proc::memory::Memory,
    symbol::module::image::{u32_at, u64_at},
};

/// `mutexLocked`, `mutexStarving`.
const LOCKED: u32 = 1;
const STARVING: u32 = 4;
/// Offsets of `RWMutex.readerCount` and `readerWait`.
const READER_COUNT: usize = 16;
const READER_WAIT: usize = 20;
const RWMUTEX_BYTES: usize = 24;
/// Highest count that is believed.
const MAX_COUNT: u32 = 1 << 30;

/// Who keeps others waiting, as the lock itself says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// One goroutine has it.
    Exclusively {
        /// It is handed on to the one that has waited longest, so that nobody can snatch it.
        starving: bool,
    },
    /// Readers have it, so many.
    ByReaders(u32),
    /// Nobody has it: it is on its way to the next one.
    Nobody,
    /// A `WaitGroup` whose counter is this.
    Counting(u32),
}

impl Held {
    /// Reads the lock of Go type `of` at `address`; `None` for what has no such words, or makes no sense.
    #[must_use]
    pub fn read(memory: &dyn Memory, of: &str, address: u64) -> Option<Self> {
        let mut bytes = [0; RWMUTEX_BYTES];
        let wanted = match of {
            "sync.Mutex" => 4,
            // The mutex comes after `done`.
            "sync.Once" | "sync.WaitGroup" => 8,
            "sync.RWMutex" => RWMUTEX_BYTES,
            _ => return None,
        };
        let bytes = bytes.get_mut(..wanted)?;
        memory.read(address, bytes).then_some(())?;
        match of {
            "sync.Mutex" => Some(Self::mutex(u32_at(bytes, 0)?)),
            "sync.Once" => Some(Self::mutex(u32_at(bytes, 4)?)),
            "sync.RWMutex" => {
                let count = u32_at(bytes, READER_COUNT)?.cast_signed();
                match u32_at(bytes, READER_WAIT)? {
                    // A writer has taken the lock from others, and waits for those that read already.
                    waiting @ 1..MAX_COUNT if count < 0 => Some(Self::ByReaders(waiting)),
                    _ if count < 0 => Some(Self::Exclusively { starving: false }),
                    _ => Some(Self::Nobody),
                }
            }
            _ => {
                let counter = u64_at(bytes, 0)? >> 32;
                let counter = u32::try_from(counter).ok();
                counter.filter(|n| *n < MAX_COUNT).map(Self::Counting)
            }
        }
    }

    const fn mutex(state: u32) -> Self {
        if state & LOCKED == 0 {
            return Self::Nobody;
        }
        Self::Exclusively {
            starving: state & STARVING != 0,
        }
    }

    /// The same in words; empty when there is no more to say than that it is held.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Exclusively { starving: false } => String::new(),
            Self::Exclusively { starving: true } => "handed on in turn".to_owned(),
            Self::ByReaders(1) => "held by 1 reader".to_owned(),
            Self::ByReaders(n) => format!("held by {n} readers"),
            Self::Nobody => "on its way to the next one".to_owned(),
            Self::Counting(n) => format!("{n} to be done"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::memory::Copied;

    const MUTEX: &str = "sync.Mutex";
    const ONCE: &str = "sync.Once";
    const RWMUTEX: &str = "sync.RWMutex";
    const WAIT_GROUP: &str = "sync.WaitGroup";

    fn held(of: &str, words: &[u32]) -> Option<Held> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let memory = Copied {
            base: 0x1000,
            bytes: &bytes,
        };
        Held::read(&memory, of, 0x1000)
    }

    #[test]
    fn what_words_say() {
        let exclusively = |starving| Some(Held::Exclusively { starving });
        let waiters = 9 << 3;
        assert_eq!(held(MUTEX, &[waiters | LOCKED, 0]), exclusively(false));
        assert_eq!(
            held(MUTEX, &[waiters | LOCKED | STARVING, 0]),
            exclusively(true)
        );
        assert_eq!(held(MUTEX, &[waiters | STARVING, 0]), Some(Held::Nobody));
        assert_eq!(held(ONCE, &[0, waiters | LOCKED, 0]), exclusively(false));
        let pending = (-(1_i32 << 30)).cast_unsigned();
        assert_eq!(
            held(RWMUTEX, &[1, 0, 0, 0, pending + 2, 2]),
            Some(Held::ByReaders(2))
        );
        assert_eq!(
            held(RWMUTEX, &[1, 0, 0, 0, pending + 5, 0]),
            exclusively(false)
        );
        assert_eq!(held(RWMUTEX, &[0, 0, 0, 0, 3, 0]), Some(Held::Nobody));
        assert_eq!(held(WAIT_GROUP, &[2, 7, 0]), Some(Held::Counting(7)));
        assert_eq!(held("semaphore", &[2, 7, 0]), None);
        assert_eq!(held(MUTEX, &[]), None);
    }

    proptest! {
        #[test]
        fn any_words(words in proptest::collection::vec(any::<u32>(), 0..8)) {
            for of in [MUTEX, ONCE, RWMUTEX, WAIT_GROUP] {
                match held(of, &words) {
                    Some(Held::ByReaders(n)) => prop_assert!(n > 0 && n < MAX_COUNT),
                    Some(Held::Counting(n)) => prop_assert!(n < MAX_COUNT),
                    _ => {}
                }
            }
        }
    }
}
