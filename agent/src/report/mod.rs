//! From what was read to a [`crate::model::Capture`] or [`crate::model::Snapshot`].
//!
//! [`stacks`] keeps call paths while recording; [`waiter`] unwinds threads that are parked; [`verdict`] asks the runtimes
//! what a futex is; [`lock`] puts one lock together, [`holds`] how long it is held; [`holder`] finds who has it;
//! [`explain`] follows holders to the root; [`goroutines`] does all of this for Go; [`capture`] and [`snapshot`] the whole.

pub mod apportion;
pub mod budget;
pub mod capture;
pub mod engine;
pub mod entry;
pub mod explain;
pub mod goroutines;
pub mod holder;
pub mod holds;
pub mod identify;
pub mod lock;
pub mod name;
pub mod process;
pub mod reach;
pub mod snapshot;
pub mod stacks;
pub mod syscall;
pub mod thin;
pub mod verdict;
pub mod waiter;
