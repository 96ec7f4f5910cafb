//! For how long a lock has been held: at least as long as its holder has been asleep.

use super::{Tasks, looks::is_signalled};
use crate::model::{Holder, Kind};

/// Adds the time that the holder has not run, where nothing better is known.
pub fn add(holder: &mut Holder, kind: Kind, tasks: &Tasks<'_>, now_ns: u64) {
    // Who signals a condition variable holds nothing; who has no name is dead, though another may have the id.
    let holds = !is_signalled(kind) && kind != Kind::Join && !holder.comm.is_empty();
    if holder.since_ns.is_some() || !holds {
        return;
    }
    let asleep = tasks.get(&holder.tid).filter(|seen| seen.task.state != 0);
    if let Some(since_ns) = asleep.and_then(|seen| seen.asleep_since_ns) {
        holder.since_ns = Some(now_ns.saturating_sub(since_ns));
        holder.since_is_at_least = true;
    }
}
