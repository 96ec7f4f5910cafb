//! The agent's log: lines for people on a terminal, JSON for everything else.

use std::{
    io::{self, IsTerminal as _},
    panic, thread,
};

use tracing_subscriber::EnvFilter;

/// What is logged when `HOLDUP_LOG` does not say otherwise.
const DEFAULT: &str = "info";

/// Starts logging to standard error; `HOLDUP_LOG` chooses what, e.g. `debug` or `holdup::detect=debug`.
pub fn start() {
    let filter = EnvFilter::try_from_env("HOLDUP_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    // It fails only where logging was started before.
    let _ = if io::stderr().is_terminal() {
        builder.try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    // A panic is a line like any other, lest nobody can read the rest.
    panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        tracing::error!(thread = thread.name(), "{panic}");
    }));
}
