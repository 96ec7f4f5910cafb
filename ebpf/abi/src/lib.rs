//! The contract between holdup's BPF programs and its agent: map keys and values, ring buffer records,
//! load-time configuration and the names of the loss counters.
//!
//! Everything is `#[repr(C)]`, made of fixed-width integers with explicit padding, so that both compilers agree on
//! the bytes. There is no `bool`, `Option`, `usize` or Rust enum in a shared structure: a value that came from the
//! other side is checked before it becomes one.
#![no_std]

pub mod census;
pub mod config;
pub mod counter;
pub mod entry;
pub mod futex;
pub mod golang;
pub mod hold;
pub mod lock;
pub mod record;
pub mod slow;
pub mod thread;
pub mod uprobe;

#[cfg(feature = "user")]
mod user;
