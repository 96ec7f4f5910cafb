//! `holdup agent`: the loops that run for months, each under supervision.

pub mod governor;
pub mod hub;
pub mod ledger;
pub mod log;
pub mod loops;
pub mod mailbox;
pub mod supervise;
pub mod systemd;
