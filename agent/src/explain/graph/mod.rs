//! The wait-for graph: from facts about threads, locks, processes and endpoints to root causes. No I/O.
//!
//! An edge leads from what waits to what it waits for. A thread that waits for several things may need all of them (a
//! writer needs every reader to leave) or any one (`poll` on several descriptors, a semaphore); only circles of the
//! first kind, and knots of the second (nothing in it can be reached from outside), are deadlocks.
//!
//! # Cost
//! Linear in the size of the graph, but for counting who waits behind each root, which is linear in the size of what
//! lies behind it and stops at a fixed number of steps over all roots. Nothing recurses.

mod behind;
mod build;
mod convoy;
mod deadlock;
pub mod facts;
mod fate;
mod result;
mod scc;
mod text;

pub use facts::Facts;
pub use result::{Explained, explain};

#[cfg(test)]
mod tests;
