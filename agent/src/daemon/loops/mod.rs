//! What each loop does in its turns.

pub mod alert;
pub mod detect;
pub mod evidence;
pub mod serve;
pub mod watch;
