//! Real programs, compiled here, parked on a lock, unwound from outside.

mod compile;
mod parked;
mod programs;
