//! `holdup agent`: the loops that run for months, each under supervision.

pub mod supervise;
