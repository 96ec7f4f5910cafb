//! End-to-end tests of `holdup`: real programs, real eBPF, exact numbers. How they work: [`holdup_tests`].

mod across;
mod agent;
mod bootstrap;
mod browser;
mod command;
mod concurrent;
mod deploy;
mod doctor;
mod errors;
mod explain;
mod filters;
mod formats;
mod go;
mod holders;
mod holds;
mod languages;
mod lifecycle;
mod limits;
mod outcomes;
mod primitives;
mod readme;
mod reuse;
mod sampling;
mod snapshot;
mod stacks;
mod workloads;
