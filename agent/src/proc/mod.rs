//! What `/proc` and a target's memory say. Everything read here is hostile: parsers are total and bounded.

pub mod cgroup;
pub mod cpu;
pub mod maps;
pub mod memory;
pub mod process;
pub mod time;
pub mod workload;
