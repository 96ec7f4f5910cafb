//! holdup: what is the hold-up, and who is holding it up?
//!
//! An eBPF lock-contention profiler for Linux. Data flows one way:
//!
//! ```text
//! probe -> maps / ring buffer -> ingest -> model -> sink
//!                                  |         ^
//!                                  +- symbol, runtime (what the target's memory and ELF files add)
//! ```
//!
//! - [`probe`]: what can be attached to this kernel, and attaching it
//! - [`ingest`]: decoding what the kernel side wrote
//! - [`explain`]: what a thread waits for, and who is at the other end
//! - [`proc`]: what `/proc` and a target's memory say, read as hostile input
//! - [`symbol`]: stacks to functions and lines
//! - [`runtime`]: what a language runtime's lock looks like, so that a futex becomes a mutex with a holder
//! - [`explain`]: who holds a lock up, and what the holder itself waits for
//! - [`model`]: plain types: captures and snapshots, which are also the JSON documents
//! - [`sink`]: table, JSON, pprof, folded stacks, SVG, HTML, Graphviz
//! - [`order`]: deadlocks that have not happened yet, from the order in which locks are taken
//! - [`report`]: putting captures and snapshots together
//! - [`pipeline`]: wiring, the one file that knows every stage
//! - [`daemon`]: `holdup agent`: [`watch`] once a tick, [`detect`] what piles up, keep [`evidence`], [`serve`] it, under [`settings`]
//! - [`cli`]: the command line
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may")
)]

pub mod cli;
pub mod daemon;
pub mod detect;
pub mod evidence;
pub mod explain;
pub mod ingest;
pub mod model;
pub mod order;
pub mod pipeline;
pub mod probe;
pub mod proc;
pub mod report;
pub mod runtime;
pub mod serve;
pub mod settings;
pub mod sink;
pub mod symbol;
pub mod watch;
