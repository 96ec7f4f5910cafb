//! One thread has waited for very long.

use super::{
    level::{Level, ns},
    pile::Pile,
    settings::LongWait,
};
use crate::model::{Kind, watch::Lock};

/// `lock` is the pile's row.
pub(super) fn level(pile: &Pile, lock: &Lock, thresholds: &LongWait, clear_percent: u8) -> Level {
    // Threads wait for a stop signal or for work on semaphores that nobody holds.
    if lock.kind == Kind::Semaphore && lock.holder.is_none() {
        return Level::Clear;
    }
    Level::of(&[(pile.oldest_ns, ns(thresholds.r#for))], clear_percent)
}
