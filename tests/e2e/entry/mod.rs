//! `--probe entry`: every lock and unlock of a process.

mod mistakes;
mod order;
mod report;
mod scene;
