//! Probes on contended entry points (`--probe slow`): a lock that is about to be waited for tells its kind and address.
//!
//! [`table`] is the data, [`names`] finds its rows among symbols, [`scan`] in one file and [`files`] in those of processes;
//! [`registers`] knows where static probes have their arguments.

pub mod files;
pub mod names;
pub mod registers;
pub mod scan;
pub mod table;

use holdup_abi::lock::Lock;

use self::table::{ROWS, Row};

/// The row that told of the last wait on a futex word, and the address of the lock object.
#[must_use]
pub fn told(lock: &Lock) -> Option<(&'static Row, u64)> {
    let row = ROWS.get(usize::try_from(lock.row.checked_sub(1)?).ok()?)?;
    Some((row, lock.key.address.wrapping_sub(lock.inside.into())))
}
