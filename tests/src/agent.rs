//! A running `holdup agent`, which watches the whole machine: tests look at their own processes only.

use std::{
    collections::VecDeque,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    child::{DEADLINE, Guarded, Lines, kill},
    holdup,
    http::{self, Answer, Events},
    scratch::Scratch,
};

/// Time between two looks at something that is waited for.
const STEP: Duration = Duration::from_millis(20);

/// An agent; killed when dropped.
#[derive(Debug)]
pub struct Agent {
    child: Guarded,
    log: Lines,
    /// Lines that came before it listened.
    earlier: VecDeque<Value>,
    address: SocketAddr,
    place: Place,
}

/// What outlives an agent that is killed: its configuration and its snapshots.
#[derive(Debug)]
pub struct Place {
    scratch: Scratch,
    /// Directory of the snapshots.
    pub snapshots: PathBuf,
    environment: Vec<(String, String)>,
}

impl Place {
    /// A new one, with this configuration (TOML).
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(configuration: &str) -> Result<Self> {
        let scratch = Scratch::new()?;
        let place = Self {
            snapshots: scratch.join("snapshots"),
            scratch,
            environment: Vec::new(),
        };
        place.configure(configuration)?;
        Ok(place)
    }

    /// Keeps snapshots elsewhere.
    #[must_use]
    pub fn with_snapshots(mut self, path: &Path) -> Self {
        self.snapshots = path.to_owned();
        self
    }

    /// Sets an environment variable of the agent.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Path of `name` beside the configuration.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// Writes another configuration.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, configuration: &str) -> Result<()> {
        fs::write(self.join("holdup.toml"), configuration).context("configuration")
    }

    /// Starts an agent here and waits until it is ready.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn start(self, arguments: &[&str]) -> Result<Agent> {
        let mut command = holdup::command(&["agent", "--listen", "127.0.0.1:0", "--config"])?;
        command.arg(self.join("holdup.toml"));
        command.arg("--snapshot-dir").arg(&self.snapshots);
        command.args(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.launch(command)
    }

    /// Starts an agent by this command, which may be a wrapper, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn launch(self, mut command: Command) -> Result<Agent> {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = Lines::of(child.stderr.take().context("no standard error")?);
        let child = Guarded::new(child);
        let mut earlier = VecDeque::new();
        let address = loop {
            let line = log.line()?;
            let line: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            if line["message"] == "listening" {
                break line["address"].as_str().context("no address")?.parse()?;
            }
            earlier.push_back(line);
        };
        let agent = Agent {
            child,
            log,
            earlier,
            address,
            place: self,
        };
        agent.until("ready", || {
            Ok((agent.get("/readyz")?.status == 200).then_some(()))
        })?;
        Ok(agent)
    }
}

impl Agent {
    /// Starts one with this configuration (TOML) and waits until it is ready.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn start(configuration: &str) -> Result<Self> {
        Place::new(configuration)?.start(&[])
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its files are.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// `GET path`.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn get(&self, path: &str) -> Result<Answer> {
        http::get(self.address, path).with_context(|| path.to_owned())
    }

    /// JSON at `path`, whatever the status.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self, path: &str) -> Result<Value> {
        let answer = self.get(path)?;
        serde_json::from_str(&answer.body).with_context(|| format!("{path}: {answer:?}"))
    }

    /// Incidents of process `pid`, open and resolved.
    ///
    /// # Errors
    /// When it does not tell.
    pub fn incidents(&self, pid: u32) -> Result<Vec<Value>> {
        let list = self.json(&format!("/api/v1/incidents?pid={pid}"))?;
        let list = list["items"].as_array().context("no incidents")?;
        Ok(list.clone())
    }

    /// The incident of process `pid` with this reason and status, once there is one.
    ///
    /// # Errors
    /// When there is none in time.
    pub fn incident(&self, pid: u32, reason: &str, status: &str) -> Result<Value> {
        self.until(&format!("an incident {reason} {status} of {pid}"), || {
            let mut incidents = self.incidents(pid)?.into_iter();
            Ok(incidents.find(|one| one["reason"] == reason && one["status"] == status))
        })
    }

    /// Value of a series of `/metrics` without labels, or the sum over all its label sets that contain `labels`.
    ///
    /// # Errors
    /// When there is none.
    pub fn metric(&self, name: &str, labels: &str) -> Result<f64> {
        let metrics = self.get("/metrics")?.body;
        let values = metrics.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (found, value) = rest.rsplit_once(' ')?;
            let is_it = found.is_empty() || found.starts_with('{');
            (is_it && found.contains(labels)).then(|| value.parse::<f64>().ok())?
        });
        let values: Vec<f64> = values.collect();
        ensure!(!values.is_empty(), "no {name}{{{labels}}} in {metrics}");
        Ok(values.iter().sum())
    }

    /// Finished turns of a loop.
    ///
    /// # Errors
    /// When there is no such loop.
    pub fn beats(&self, name: &str) -> Result<f64> {
        self.metric("holdup_loop_beats_total", &format!("loop=\"{name}\""))
    }

    /// Waits until the loops that look and judge have done so `turns` times more.
    ///
    /// # Errors
    /// When they do not.
    pub fn turns(&self, turns: f64) -> Result<()> {
        for name in ["watch", "detect"] {
            let before = self.beats(name)?;
            self.until(name, || {
                Ok((self.beats(name)? >= before + turns).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Calls `look` until it has seen something.
    ///
    /// # Errors
    /// When it fails, or sees nothing in time.
    pub fn until<T>(&self, what: &str, look: impl Fn() -> Result<Option<T>>) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(seen) = look().with_context(|| format!("waiting for: {what}"))? {
                return Ok(seen);
            }
            if begun.elapsed() > DEADLINE {
                bail!("waited in vain for: {what}");
            }
            thread::sleep(STEP);
        }
    }

    /// Its stream of events from now on.
    ///
    /// # Errors
    /// When it is refused.
    pub fn events(&self) -> Result<Events> {
        Events::open(self.address, "/api/v1/events")
    }

    /// The next line of its log with this message.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn logged(&mut self, message: &str) -> Result<Value> {
        loop {
            let line = match self.earlier.pop_front() {
                Some(line) => line,
                None => {
                    let line = self.log.line()?;
                    serde_json::from_str(&line).with_context(|| line.clone())?
                }
            };
            let text = line["message"].as_str().unwrap_or_default();
            if text.contains(message) {
                return Ok(line);
            }
        }
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: i32) -> Result<()> {
        kill(self.pid(), signal)
    }

    /// Waits until it ends; returns how it did, its log, and what it leaves.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait(mut self) -> Result<(ExitStatus, String, Place)> {
        let status = self.child.wait()?;
        Ok((status, self.log.all(), self.place))
    }

    /// Ends it as systemd does, and checks that it does so in good order.
    ///
    /// # Errors
    /// When it does not.
    pub fn stop(self) -> Result<Place> {
        self.signal(libc::SIGTERM)?;
        let (status, log, place) = self.wait()?;
        ensure!(status.success(), "the agent: {status}\n{log}");
        Ok(place)
    }

    /// Open file descriptors that are no files: modules of whatever runs on the machine are kept open, within bounds.
    ///
    /// # Errors
    /// When it is gone.
    pub fn descriptors(&self) -> Result<usize> {
        let all = fs::read_dir(format!("/proc/{}/fd", self.pid()))?;
        let targets = all.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        Ok(targets.filter(|target| !target.is_absolute()).count())
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// When it is gone.
    pub fn resident_bytes(&self) -> Result<u64> {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.pid()))?;
        let pages = statm.split(' ').nth(1).context("statm")?;
        Ok(pages.parse::<u64>()? * 4096)
    }
}
