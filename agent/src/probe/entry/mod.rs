//! `--probe entry`: who calls lock functions, and probing them.
//!
//! - [`table`]: the functions
//! - [`mod@file`]: where they are in a file
//! - [`loads`]: which files a program will load
//! - [`Entry`]: processes, and what of their files is probed

pub mod file;
mod follow;
pub mod loads;
pub mod table;

pub use self::follow::Entry;
