//! Real programs, compiled here, parked on a lock, unwound from outside.

mod bounds;
mod compile;
mod data;
mod parked;
mod programs;
mod special;
