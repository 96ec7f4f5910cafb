//! Why a thread does not go on: what it is doing, what it waits for, and who is at the other end.

pub mod doing;
pub mod net;
