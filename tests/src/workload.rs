//! Starting a workload and talking to it. The protocol is described in `workloads/truth.h`.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    child::{Guarded, Lines},
    control::Control,
    report::{Holder, Outcomes},
};

/// A running workload; killed when dropped.
#[derive(Debug)]
pub struct Workload {
    child: Guarded,
    lines: Lines,
    pid: u32,
}

impl Workload {
    /// Starts `program` and waits until it is ready to go.
    ///
    /// # Errors
    /// When it does not start or is not ready in time.
    pub fn start(program: &Path, arguments: &[&str]) -> Result<Self> {
        Self::spawn(Command::new(program).args(arguments))
    }

    /// Starts `command`, which may be a wrapper that executes a workload.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn spawn(command: &mut Command) -> Result<Self> {
        Control::get()?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut workload = Self {
            pid: child.id(),
            child: Guarded::new(child),
            lines: Lines::of(stdout),
        };
        let ready: Ready = workload.event("ready")?;
        workload.pid = ready.pid;
        Ok(workload)
    }

    /// Process id of the workload itself, also when a wrapper started it.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// [`Self::pid`] as an argument.
    #[must_use]
    pub fn pid_text(&self) -> String {
        self.pid.to_string()
    }

    /// Gives it leave to go on.
    ///
    /// # Errors
    /// When it is gone.
    pub fn go(&mut self) -> Result<()> {
        let stdin = self.child.get().stdin.as_mut().context("closed")?;
        stdin.write_all(b"g").context("the workload is gone")
    }

    /// The next line it prints, which must be of this event.
    ///
    /// # Errors
    /// When another comes, or none in time.
    pub fn event<T: DeserializeOwned>(&mut self, event: &str) -> Result<T> {
        let line = self
            .lines
            .line()
            .with_context(|| format!("waiting for the workload's {event:?}"))?;
        let value: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        ensure!(value["event"] == event, "wanted {event:?}, got {line}");
        serde_json::from_value(value).with_context(|| line.clone())
    }

    /// [`Self::go`], then [`Self::event`].
    ///
    /// # Errors
    /// As those.
    pub fn go_to<T: DeserializeOwned>(&mut self, event: &str) -> Result<T> {
        self.go()?;
        self.event(event)
    }

    /// Lets it end, and checks that it does so in good order.
    ///
    /// # Errors
    /// When it fails.
    pub fn finish(mut self) -> Result<()> {
        self.go()?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the workload failed: {status}");
        Ok(())
    }

    /// Kills it with `SIGKILL` and waits until it is gone.
    ///
    /// # Errors
    /// When it does not go.
    pub fn kill(mut self) -> Result<()> {
        self.child.signal(libc::SIGKILL)?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: i32) -> Result<()> {
        crate::child::kill(self.pid, signal)
    }
}

#[derive(Deserialize)]
struct Ready {
    pid: u32,
}

/// Event of a workload whose waiters are all asleep.
#[derive(Clone, Debug, Deserialize)]
pub struct Parked {
    /// Address of the lock.
    #[serde(deserialize_with = "address")]
    pub address: u64,
    /// Kind that a report must show.
    pub kind: String,
    /// Function that a report must name.
    pub function: String,
    /// Thread that holds the lock, when the lock says so.
    pub holder: Option<u32>,
    /// Thread that holds the lock, or that everybody waits for, when the workload knows.
    pub holder_truth: Option<u32>,
    /// Threads that wait.
    pub waiters: Vec<u32>,
}

impl Parked {
    /// Fails unless a report's holder is the one that the lock names, or if it names none, nobody or the right guess.
    ///
    /// # Errors
    /// With both.
    pub fn check_holder(&self, holder: Option<&Holder>) -> Result<()> {
        let is_right = match (self.holder, holder) {
            (known, None) => known.is_none(),
            (Some(known), Some(holder)) => holder.tid == known && holder.confidence == "exact",
            (None, Some(holder)) => {
                Some(holder.tid) == self.holder_truth && holder.confidence != "exact"
            }
        };
        ensure!(is_right, "holder {holder:?}, truth {self:?}");
        Ok(())
    }
}

/// Last event of a workload that releases [`Parked`] threads: how often the waiting function returned what.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Released {
    /// Got in.
    pub woken: u64,
    /// Gave up.
    pub timed_out: u64,
}

/// Last event of a workload that counts its own futex calls.
#[derive(Clone, Debug, Deserialize)]
pub struct Truth {
    /// What it waited on.
    pub locks: Vec<TrueLock>,
    /// Everything else it told.
    #[serde(flatten)]
    pub more: serde_json::Map<String, Value>,
}

impl Truth {
    /// Reads a truth from program output that has other lines too.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(output: &str) -> Result<Self> {
        for line in output.lines() {
            if line.starts_with(r#"{"event":"truth""#) {
                return serde_json::from_str(line).with_context(|| line.to_owned());
            }
        }
        bail!("no truth in {output:?}")
    }

    /// Sum of all waits.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.locks.iter().map(|lock| lock.waits).sum()
    }
}

/// Truth about one futex word, or several when a call waits on a vector of them.
#[derive(Clone, Debug, Deserialize)]
pub struct TrueLock {
    /// What is done there.
    pub name: String,
    /// The process, when the workload has several.
    pub pid: Option<u32>,
    /// Whether the kernel knows the operation.
    #[serde(default = "yes")]
    pub supported: bool,
    /// Whether the operation can wait at all.
    #[serde(default = "yes")]
    pub is_wait: bool,
    /// Addresses of the words.
    #[serde(deserialize_with = "addresses")]
    pub addresses: Vec<u64>,
    /// Calls that waited.
    pub waits: u64,
    /// How they ended.
    #[serde(flatten)]
    pub outcomes: Outcomes,
    /// Calls that did not.
    pub value_changed: u64,
}

const fn yes() -> bool {
    true
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    crate::report::parse_address(&text).map_err(serde::de::Error::custom)
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts
        .iter()
        .map(|text| crate::report::parse_address(text).map_err(serde::de::Error::custom))
        .collect()
}
