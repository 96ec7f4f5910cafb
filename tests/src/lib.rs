//! End-to-end tests of `holdup` and what they stand on.
//!
//! # How a test works
//! The programs in `workloads/` count their own waits: each knows, to the unit, how often a futex call returned what to
//! whom. A test starts one ([`Workload`]), starts `holdup record` on it ([`Recording`]), waits until holdup says
//! `recording`, gives the workload leave to go, waits for its truth (one JSON line), interrupts holdup and compares the
//! report ([`report::Capture`]) with the truth. Nothing sleeps and hopes: workloads go on when told to, and "parked" means
//! that `/proc/TID/syscall` says so.
//!
//! Every report that is read is also checked against the rules that hold for all reports ([`report::rules`]).
//!
//! # Running them
//! They need root, a kernel with BTF, and the packages in `packages.txt`; `cargo xtask test` sees to that. By hand:
//!
//! ```text
//! cargo build -p holdup && cargo test -p holdup-tests --test e2e -- --test-threads=2
//! ```
//!
//! `HOLDUP_BIN` names another binary to test. A missing binary, compiler or privilege is a failure with a reason, never
//! a skipped test.
//!
//! Tests do not depend on each other and may run at the same time. Two at a time is the advice: each keeps a processor
//! busy, and more of them than processors would only bring the deadlines nearer.
//!
//! # Parts
//! - [`toolchain`]: compiles workloads, with and without frame pointers, stripped, static, ...
//! - [`workload`]: starts them and talks to them
//! - [`heartbeat`], [`control`]: whether holdup stopped or slowed them, and not the machine
//! - [`holdup`], [`agent`]: run the product
//! - [`http`]: asks it
//! - [`report`]: reads its JSON as a foreign program would, from the documentation and not from the product's types
//! - [`pprof`]: reads its profiles
//! - [`browser`]: shows its HTML to a browser
//! - [`podman`]: runs it in containers
//! - [`python`]: reads its YAML
//! - [`cgroup`], [`scratch`], [`child`]: what tests make and must clean up

pub mod agent;
pub mod browser;
pub mod cgroup;
pub mod child;
pub mod control;
pub mod go;
pub mod heartbeat;
pub mod holdup;
pub mod http;
pub mod podman;
pub mod pprof;
pub mod python;
pub mod receiver;
pub mod report;
pub mod scratch;
pub mod toolchain;
pub mod workload;

pub use agent::Agent;
pub use holdup::Recording;
pub use workload::Workload;
