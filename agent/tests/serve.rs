//! The HTTP side over real sockets: what it answers, and that no client can hold it up.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may")]

#[path = "serve/answers.rs"]
mod answers;
#[path = "serve/limits.rs"]
mod limits;
#[path = "serve/metrics.rs"]
mod metrics;
#[path = "serve/secrets.rs"]
mod secrets;
#[path = "serve/server.rs"]
mod server;
#[path = "serve/slow.rs"]
mod slow;
