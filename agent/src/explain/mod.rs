//! Who holds a lock up, and what the holder itself waits for.

pub mod graph;
