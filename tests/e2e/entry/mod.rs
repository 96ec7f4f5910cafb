//! `--probe entry`: every lock and unlock of a process.

mod lifecycle;
mod memcached;
mod mistakes;
mod order;
mod report;
mod scene;
