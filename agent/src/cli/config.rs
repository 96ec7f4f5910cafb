//! What will be done: validated, and the one source of defaults.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    args::{
        AgentArgs, Args, Command, DiffArgs, DiffFormat, DoctorArgs, DoctorFormat, LimitArgs,
        ProbeArgs, ProbeChoice, RecordArgs, ReportArgs, ShowArgs, SnapshotArgs, TargetArgs,
        UprobeChoice, WedgedArgs,
    },
    exit::Error,
    values::{Size, Time, Worse},
};
use crate::{probe::uprobe::asked::Probes, sink::Format};

/// Longest recording: a forgotten one must end.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest look of `holdup wedged`.
const MAX_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// Longest time between samples; more would leave locks without a stack.
const MAX_SAMPLE_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Most threads and locks: the kernel's limit on thread ids.
const MAX_ENTRIES: u32 = 4 * 1024 * 1024;
/// Smallest ring buffer: a page of the kernels with the largest ones.
const MIN_RING_BYTES: u32 = 64 * 1024;
/// Largest ring buffer.
const MAX_RING_BYTES: u32 = 1024 * 1024 * 1024;
/// Most rows of a table's section.
const MAX_TOP: usize = 100_000;
/// Fewest digits of a container id.
const MIN_CONTAINER_DIGITS: usize = 8;

/// Everything that a command line can mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// `holdup record`.
    Record(RecordConfig),
    /// `holdup snapshot`.
    Snapshot(SnapshotConfig),
    /// `holdup agent`.
    Agent(AgentConfig),
    /// `holdup wedged`.
    Wedged(WedgedConfig),
    /// `holdup doctor`.
    Doctor(DoctorConfig),
    /// `holdup show`.
    Show(ShowConfig),
    /// `holdup diff`.
    Diff(DiffConfig),
}

/// Which processes, as asked; [`super::target::resolve`] finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetSpec {
    /// These, ascending, at least one.
    Pids(Vec<u32>),
    /// All of this name.
    Comm(String),
    /// All in this control group and below.
    Cgroup(PathBuf),
    /// All in the container whose id begins so (lower-case hexadecimal).
    Container(String),
    /// All.
    All,
    /// A program to be started: its name and arguments, at least one.
    Program(Vec<OsString>),
}

/// Where the report goes and how it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportOptions {
    /// `None` is standard output.
    pub output: Option<PathBuf>,
    /// How it is written.
    pub format: Format,
    /// Most rows of a table's section.
    pub top: usize,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self {
            output: None,
            format: Format::Table,
            top: 20,
        }
    }
}

/// Capacities of the kernel side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Locks.
    pub max_locks: u32,
    /// Threads.
    pub max_threads: u32,
    /// Bytes of the ring buffer, a power of two.
    pub ring_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_locks: 32_768,
            max_threads: 65_536,
            ring_bytes: 8 * 1024 * 1024,
        }
    }
}

/// How to record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recording {
    /// How long; `None` is until the program ends.
    pub duration: Option<Duration>,
    /// Least time between two samples of one lock.
    pub sample_interval: Duration,
    /// Whether to sample stacks.
    pub stacks: bool,
    /// Whether to show progress.
    pub progress: bool,
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            duration: Some(Duration::from_secs(10)),
            sample_interval: Duration::from_millis(10),
            stacks: true,
            progress: true,
        }
    }
}

/// `holdup record`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordConfig {
    /// Which processes.
    pub target: TargetSpec,
    /// How to record.
    pub recording: Recording,
    /// Uprobes besides.
    pub probes: Probes,
    /// How to report.
    pub report: ReportOptions,
    /// Capacities.
    pub limits: Limits,
}

/// `holdup snapshot`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotConfig {
    /// Which processes; never [`TargetSpec::Program`].
    pub target: TargetSpec,
    /// Whether to read stacks.
    pub stacks: bool,
    /// How to report.
    pub report: ReportOptions,
}

/// `holdup agent`. What is given here goes before what the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentConfig {
    /// Configuration file.
    pub file: Option<PathBuf>,
    /// Where to serve HTTP.
    pub listen: Option<SocketAddr>,
    /// Where to keep snapshots.
    pub snapshot_dir: Option<PathBuf>,
    /// What to attach.
    pub probe: Option<ProbeChoice>,
    /// Only check the configuration.
    pub check: bool,
}

/// `holdup wedged`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WedgedConfig {
    /// Which processes; never [`TargetSpec::Program`].
    pub target: TargetSpec,
    /// When to give up.
    pub timeout: Duration,
    /// The agent's configuration file.
    pub file: Option<PathBuf>,
}

/// `holdup doctor`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DoctorConfig {
    /// How to write.
    pub format: DoctorFormat,
    /// Capacities whose cost is printed.
    pub limits: Limits,
}

/// `holdup show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShowConfig {
    /// The saved report.
    pub file: PathBuf,
    /// How to report.
    pub report: ReportOptions,
}

/// `holdup diff`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffConfig {
    /// The saved report to compare with.
    pub before: PathBuf,
    /// The other one.
    pub after: PathBuf,
    /// Percent by which a lock may become worse; `None` when that is nobody's concern.
    pub worse: Option<u32>,
    /// How to report: as a table or as JSON.
    pub report: ReportOptions,
}

impl TryFrom<Args> for Config {
    type Error = Error;

    fn try_from(args: Args) -> Result<Self, Error> {
        Ok(match args.command {
            Command::Record(args) => Self::Record(record(args)?),
            Command::Snapshot(args) => Self::Snapshot(snapshot(args)?),
            Command::Agent(args) => Self::Agent(agent(args)),
            Command::Wedged(args) => Self::Wedged(wedged(args)?),
            Command::Doctor(DoctorArgs { format, limits }) => Self::Doctor(DoctorConfig {
                format,
                limits: self::limits(&limits)?,
            }),
            Command::Show(ShowArgs { file, report }) => Self::Show(ShowConfig {
                file,
                report: self::report(report)?,
            }),
            Command::Diff(args) => Self::Diff(diff(args)?),
        })
    }
}

fn record(args: RecordArgs) -> Result<RecordConfig, Error> {
    let RecordArgs {
        target,
        program,
        duration,
        sample_interval,
        no_stacks,
        quiet,
        probes,
        report,
        limits,
    } = args;
    let target = self::target("record", target, program)?;
    let probes = self::probes(probes, &target)?;
    let duration = match duration {
        Some(time) => Some(within("--duration", time, MAX_DURATION)?),
        None if matches!(target, TargetSpec::Program(_)) => None,
        None => Recording::default().duration,
    };
    Ok(RecordConfig {
        target,
        recording: Recording {
            duration,
            sample_interval: within("--sample-interval", sample_interval, MAX_SAMPLE_INTERVAL)?,
            stacks: !no_stacks,
            progress: !quiet,
        },
        probes,
        report: self::report(report)?,
        limits: self::limits(&limits)?,
    })
}

fn probes(args: ProbeArgs, target: &TargetSpec) -> Result<Probes, Error> {
    let ProbeArgs {
        probes,
        max_overhead: max_overhead_percent,
        lock_functions,
        unlock_functions,
    } = args;
    if !(1..=100).contains(&max_overhead_percent) {
        return Err(Error::usage(format!(
            "--max-overhead {max_overhead_percent}: out of range"
        ))
        .with_hint("pass 1 to 100"));
    }
    let entry = probes.contains(&UprobeChoice::Entry);
    if entry && !matches!(target, TargetSpec::Pids(_) | TargetSpec::Program(_)) {
        return Err(
            Error::usage("--probe entry slows down every lock of what it watches")
                .with_hint("name the processes with -p PID, or run the program with -- CMD"),
        );
    }
    let user_functions = lock_functions.len() + unlock_functions.len();
    if !entry && user_functions > 0 {
        return Err(
            Error::usage("--lock-fn and --unlock-fn name functions for --probe entry")
                .with_hint("add --probe entry"),
        );
    }
    if lock_functions.is_empty() != unlock_functions.is_empty() {
        return Err(
            Error::usage("--lock-fn and --unlock-fn: one without the other").with_hint(
                "a lock that is only ever acquired, or only ever released, tells nothing",
            ),
        );
    }
    Ok(Probes {
        slow: probes.contains(&UprobeChoice::Slow),
        entry,
        go: probes.contains(&UprobeChoice::Go),
        max_overhead_percent,
        lock_functions,
        unlock_functions,
    })
}

fn snapshot(args: SnapshotArgs) -> Result<SnapshotConfig, Error> {
    let SnapshotArgs {
        target,
        no_stacks,
        report,
    } = args;
    Ok(SnapshotConfig {
        target: self::target("snapshot", target, Vec::new())?,
        stacks: !no_stacks,
        report: self::report(report)?,
    })
}

fn agent(args: AgentArgs) -> AgentConfig {
    let AgentArgs {
        config,
        listen,
        snapshot_dir,
        probe,
        check,
    } = args;
    AgentConfig {
        file: config,
        listen,
        snapshot_dir,
        probe,
        check,
    }
}

fn wedged(args: WedgedArgs) -> Result<WedgedConfig, Error> {
    let WedgedArgs {
        target,
        timeout,
        config,
    } = args;
    Ok(WedgedConfig {
        target: self::target("wedged", target, Vec::new())?,
        timeout: within("--timeout", timeout, MAX_TIMEOUT)?,
        file: config,
    })
}

fn diff(args: DiffArgs) -> Result<DiffConfig, Error> {
    let DiffArgs {
        before,
        after,
        fail_on,
        output,
        format,
        top,
    } = args;
    let format = match format {
        DiffFormat::Table => Format::Table,
        DiffFormat::Json => Format::Json,
    };
    Ok(DiffConfig {
        before,
        after,
        worse: fail_on.map(|Worse(percent)| percent),
        report: report(ReportArgs {
            output,
            format,
            top,
        })?,
    })
}

fn target(command: &str, args: TargetArgs, program: Vec<OsString>) -> Result<TargetSpec, Error> {
    let TargetArgs {
        mut pids,
        comm,
        cgroup,
        container,
        all,
    } = args;
    pids.sort_unstable();
    pids.dedup();
    let mut given = Vec::new();
    if !pids.is_empty() {
        given.push(("-p", TargetSpec::Pids(pids)));
    }
    given.extend(comm.map(|name| ("--comm", TargetSpec::Comm(name))));
    given.extend(cgroup.map(|path| ("--cgroup", TargetSpec::Cgroup(path))));
    given.extend(container.map(|id| ("--container", TargetSpec::Container(id))));
    given.extend(all.then_some(("--all", TargetSpec::All)));
    if !program.is_empty() {
        given.push(("-- CMD", TargetSpec::Program(program)));
    }
    let choices = match command {
        "record" => "-p PID, --comm NAME, --cgroup PATH, --container ID, --all or -- CMD",
        _ => "-p PID, --comm NAME, --cgroup PATH, --container ID or --all",
    };
    if given.len() > 1 {
        let options: Vec<&str> = given.iter().map(|&(option, _)| option).collect();
        let options = options.join(" and ");
        return Err(Error::usage(format!("{options} cannot be combined"))
            .with_hint(format!("pass exactly one of {choices}")));
    }
    match given.pop() {
        Some((_, spec)) => check(spec),
        None => Err(Error::usage(format!(
            "{command} needs to know which processes to look at"
        ))
        .with_hint(format!("pass one of {choices}"))),
    }
}

fn check(spec: TargetSpec) -> Result<TargetSpec, Error> {
    match spec {
        TargetSpec::Pids(pids) if pids.contains(&0) => {
            Err(Error::usage("-p 0: 0 is not a process"))
        }
        TargetSpec::Pids(pids) if pids.len() > holdup_abi::config::MAX_TARGETS as usize => {
            let most = holdup_abi::config::MAX_TARGETS;
            Err(
                Error::usage(format!("-p: {} processes are more than {most}", pids.len()))
                    .with_hint("--cgroup and --all have no such limit"),
            )
        }
        TargetSpec::Comm(name) if name.is_empty() => Err(Error::usage("--comm: the name is empty")),
        TargetSpec::Container(id) => container_id(&id).map(TargetSpec::Container),
        spec => Ok(spec),
    }
}

fn container_id(text: &str) -> Result<String, Error> {
    // Kubernetes writes `containerd://ID`.
    let id = text
        .rsplit_once("://")
        .map_or(text, |(_, id)| id)
        .to_ascii_lowercase();
    let is_hex = id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && (MIN_CONTAINER_DIGITS..=64).contains(&id.len()) {
        return Ok(id);
    }
    Err(
        Error::usage(format!("--container {text}: not a container id")).with_hint(
            "pass 8 to 64 hexadecimal digits, as shown by docker ps, crictl ps or podman ps",
        ),
    )
}

fn within(option: &str, time: Time, longest: Duration) -> Result<Duration, Error> {
    if (Duration::from_micros(1)..=longest).contains(&time.0) {
        return Ok(time.0);
    }
    Err(
        Error::usage(format!("{option} {time}: out of range")).with_hint(format!(
            "pass more than nothing and at most {}",
            Time(longest)
        )),
    )
}

fn report(args: ReportArgs) -> Result<ReportOptions, Error> {
    let ReportArgs {
        output,
        format,
        top,
    } = args;
    if !(1..=MAX_TOP).contains(&top) {
        return Err(Error::usage(format!("--top {top}: out of range"))
            .with_hint(format!("pass 1 to {MAX_TOP}")));
    }
    Ok(ReportOptions {
        output,
        format,
        top,
    })
}

fn limits(args: &LimitArgs) -> Result<Limits, Error> {
    let &LimitArgs {
        max_locks,
        max_threads,
        ring_bytes,
    } = args;
    for (option, value) in [("--max-locks", max_locks), ("--max-threads", max_threads)] {
        if !(1..=MAX_ENTRIES).contains(&value) {
            return Err(Error::usage(format!("{option} {value}: out of range"))
                .with_hint(format!("pass 1 to {MAX_ENTRIES}")));
        }
    }
    let fits =
        |bytes: &u32| bytes.is_power_of_two() && (MIN_RING_BYTES..=MAX_RING_BYTES).contains(bytes);
    match u32::try_from(ring_bytes.0).ok().filter(fits) {
        Some(ring_bytes) => Ok(Limits {
            max_locks,
            max_threads,
            ring_bytes,
        }),
        None => Err(Error::usage(format!(
            "--ring-bytes {ring_bytes}: the kernel would not take it"
        ))
        .with_hint(format!(
            "pass a power of two from {} to {}",
            Size(MIN_RING_BYTES.into()),
            Size(MAX_RING_BYTES.into())
        ))),
    }
}

#[cfg(test)]
mod tests;
