//! `holdup agent`: the loops that run for months, each under supervision.
//!
//! ```text
//! watch --view--> detect --events--> snapshot (evidence) --explained--> detect
//!    \              \--events--> alerts, event streams
//!     \--view--> record (flight recorder, open incidents), serve
//! governor --level--> watch
//! ```
//!
//! Views go through cells that hold the last one, events through bounded queues that drop and count: nobody waits for who
//! reads. What a loop needs after a panic is in the [`hub`], everything else it makes anew.

pub mod governor;
pub mod hub;
pub mod ledger;
pub mod log;
pub mod loops;
pub mod mailbox;
mod run;
pub mod settings;
pub mod supervise;
pub mod systemd;

pub use self::run::{Error, run};
