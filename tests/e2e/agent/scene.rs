//! A workload under a name of its own, so that an agent that watches the whole machine judges it alone.

use std::{
    fs,
    path::Path,
    process::id,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Result;
use holdup_tests::{
    Workload,
    agent::{Agent, Place},
    scratch::Scratch,
    toolchain::{Build, build},
};
use serde::Deserialize;

/// See the module.
pub struct Scene {
    /// The program.
    pub workload: Workload,
    /// Its name.
    pub name: String,
    _scratch: Scratch,
}

/// Event of `pile_up.c`.
#[derive(Debug, Deserialize)]
pub struct Piled {
    /// Who holds the lock.
    pub holder: u32,
}

impl Scene {
    /// Starts `source` with these arguments.
    pub fn of(source: &str, arguments: &[&str]) -> Result<Self> {
        Self::start(&build(source, Build::Plain)?, arguments)
    }

    /// Starts a program that is built.
    pub fn start(built: &Path, arguments: &[&str]) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // The kernel keeps 15 bytes.
        let name = format!("s{}-{}", id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let scratch = Scratch::new()?;
        let program = scratch.join(&name);
        fs::hard_link(built, &program)?;
        Ok(Self {
            workload: Workload::start(&program, arguments)?,
            name,
            _scratch: scratch,
        })
    }

    /// Process id.
    pub const fn pid(&self) -> u32 {
        self.workload.pid()
    }

    /// Configuration of an agent that looks often and judges this program alone, by `thresholds` (keys of a rule).
    pub fn configuration(&self, thresholds: &str) -> String {
        configuration(&self.name, thresholds)
    }

    /// Starts such an agent, with more configuration.
    pub fn agent(&self, thresholds: &str, more: &str) -> Result<Agent> {
        self.place(thresholds, more)?.start(&[])
    }

    /// Where such an agent can be started.
    pub fn place(&self, thresholds: &str, more: &str) -> Result<Place> {
        Place::new(&format!("{}{more}", self.configuration(thresholds)))
    }

    /// Lets `pile_up.c` reach its next number of waiters.
    pub fn pile(&mut self) -> Result<Piled> {
        self.workload.go_to("piled")
    }
}

/// As soon as there are so many waiters.
pub fn parked(waiters: u64) -> String {
    format!("parked = {{ enabled = true, waiters = {waiters}, oldest = \"0s\", for = \"0s\" }}\n")
}

/// See [`Scene::configuration`].
pub fn configuration(name: &str, thresholds: &str) -> String {
    format!(
        r#"
[watch]
tick = "100ms"
locks = 65536
threads = 16384
[store]
min_free_bytes = 0
[detect]
resolve_after = "1s"
heartbeat = "300ms"
restart_grace = "5s"
parked.enabled = false
stalled.enabled = false
growing.enabled = false
long_wait.enabled = false
deadlock.enabled = false
[[detect.rule]]
process = "{name}"
{thresholds}
"#
    )
}
