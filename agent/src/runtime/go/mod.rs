//! Go: its threads as they show in futexes ([`threads`]), and its goroutines, read from outside with nobody stopped.

mod threads;

pub(super) use threads::Go;
