//! What can be attached to this kernel, and attaching it.
//!
//! [`table`] says what exists, [`feature`] what the kernel has, [`plan`] what to try in which order and why, [`attach`]
//! tries it. Nothing is decided by kernel version.

pub mod attach;
pub mod btf;
pub mod config;
pub mod entry;
pub mod feature;
pub mod golang;
pub mod object;
pub mod plan;
pub mod slow;
pub mod table;
pub mod uprobe;
