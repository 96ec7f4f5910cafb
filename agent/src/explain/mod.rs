//! Who holds a lock up, and what the holder itself waits for.

pub mod doing;
pub mod graph;
pub mod net;
