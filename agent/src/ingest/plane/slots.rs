//! Slots of the tables of locks: taken off the lists, and given back.

use aya::maps::{HashMap, MapData, MapError, Queue};
use holdup_abi::lock::LockKey;

use super::{Plane, PlaneError, map_error};

impl Plane {
    /// Takes the word in `slot` out of the hash: whoever waits for it from now on gets another slot. False when it is not
    /// this slot that the hash has for it.
    ///
    /// # Errors
    /// The map cannot be used.
    pub fn unlist(&mut self, key: &LockKey, slot: u32) -> Result<bool, PlaneError> {
        let mut slots = self.map_mut::<HashMap<&mut MapData, LockKey, u32>>("LOCK_SLOTS")?;
        match slots.get(key, 0) {
            Ok(listed) if listed == slot => {}
            Ok(_) | Err(MapError::KeyNotFound) => return Ok(false),
            Err(error) => return Err(map_error("LOCK_SLOTS")(error)),
        }
        slots.remove(key).map_err(map_error("LOCK_SLOTS"))?;
        Ok(true)
    }

    /// Puts it back. False when the word has got another slot meanwhile.
    ///
    /// # Errors
    /// The map cannot be used.
    pub fn list(&mut self, key: &LockKey, slot: u32) -> Result<bool, PlaneError> {
        /// `BPF_NOEXIST`.
        const NOEXIST: u64 = 1;
        let mut slots = self.map_mut::<HashMap<&mut MapData, LockKey, u32>>("LOCK_SLOTS")?;
        match slots.insert(key, slot, NOEXIST) {
            Ok(()) => Ok(true),
            Err(MapError::SyscallError(error))
                if matches!(
                    error.io_error.raw_os_error(),
                    Some(libc::EEXIST | libc::E2BIG)
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(map_error("LOCK_SLOTS")(error)),
        }
    }

    /// Gives slots that nobody uses back to the kernel side.
    ///
    /// # Errors
    /// The map cannot be used.
    pub fn free(&mut self, slots: &[u32]) -> Result<(), PlaneError> {
        self.give_back("FREE_SLOTS", slots)
    }

    /// The same for slots of locks whose calls are followed.
    ///
    /// # Errors
    /// The map cannot be used.
    pub fn free_entry(&mut self, slots: &[u32]) -> Result<(), PlaneError> {
        self.give_back("ENTRY_FREE", slots)
    }

    fn give_back(&mut self, name: &'static str, slots: &[u32]) -> Result<(), PlaneError> {
        let mut queue = self.map_mut::<Queue<&mut MapData, u32>>(name)?;
        slots
            .iter()
            .try_for_each(|slot| queue.push(slot, 0))
            .map_err(map_error(name))
    }
}
