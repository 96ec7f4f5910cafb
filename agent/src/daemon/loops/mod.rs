//! What each loop does in its turns.

pub mod serve;
pub mod watch;
