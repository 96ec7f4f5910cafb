//! The node as Prometheus metrics.
//!
//! [`Totals`] is fed with every tick and adds up what was counted since the tick before, so that a counter never goes
//! backwards: not when the kernel uses a lock's place again, not when a lock leaves the top, not when several processes
//! share a name. [`Totals::scrape`] takes what is to be written, [`Exposition::encode`] writes it.
//!
//! - Series are by process name and where it runs, kind of lock, lock id and site. No address, no thread, no stack.
//! - Locks that somebody holds have a series of their own if they are among the top of their process by wait, else they
//!   are in the series `lock="other"` of their kind. What has left the top keeps its series, and is counted in it, until
//!   it has been out for [`Settings::linger`].
//! - Words of unknown kind are in `lock="other",kind="unknown"`. Kinds that are no locks (condition variables, idle
//!   workers, ...) are in `holdup_parked_threads` alone.
//! - The series of a process stay for as long after its end. A living process that needs the place gets it at once.
//! - A series that is dropped takes its counts along: into `holdup_expired_...`, so that nothing is lost and no rate of
//!   another series jumps, as it would if they were added to `other`. If it comes back, it starts at 0.
//! - Waits whose duration was not looked at (the governor's level `no_detail`) are in the bucket without a bound.
//! - In census mode nothing is counted: `holdup_lock_wait_seconds` and `holdup_lock_handoffs_total` are absent then.

mod amounts;
mod exposition;
mod label;
mod own;
mod owner;
mod rows;
mod scrape;
mod series;
mod settings;
mod text;
mod top;
mod totals;

#[cfg(test)]
mod shipped;
#[cfg(test)]
mod tests;

pub use exposition::Exposition;
pub use own::Http;
pub use settings::Settings;
pub use text::Format;
pub use totals::Totals;
