//! `holdup agent`: the loops that run for months, each under supervision.

pub mod governor;
pub mod hub;
pub mod log;
pub mod loops;
pub mod supervise;
pub mod systemd;
