//! Plain types and aggregation: no aya, no tokio, no I/O. The types serialise to the documented JSON.

pub mod bundle;
pub mod capture;
pub mod diff;
pub mod entry;
pub mod explanation;
pub mod frame;
pub mod go;
pub mod health;
pub mod hex;
pub mod histogram;
pub mod hold;
pub mod incident;
pub mod kind;
pub mod lock;
pub mod plan;
pub mod process;
pub mod snapshot;
pub mod verdict;
pub mod watch;
pub mod workload;

pub use bundle::Bundle;
pub use capture::Capture;
pub use entry::EntryReport;
pub use frame::{Frame, RawFrame};
pub use go::GoProcess;
pub use kind::Kind;
pub use lock::{Holder, Lock, Outcomes, Site};
pub use snapshot::Snapshot;
