//! Reading what the kernel side wrote.

pub mod batch;
pub mod census;
pub mod clock;
pub mod cost;
pub mod counters;
pub mod decode;
pub mod entry;
pub mod goroutines;
pub mod locks;
pub mod mapped;
pub mod plane;
pub mod threads;
