//! What was typed. Nothing here decides anything: [`super::config`] does.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};

use super::{
    config::{Limits, Recording, ReportOptions},
    values::{Size, Time, Worse},
};
use crate::{
    probe::uprobe::asked::{Probes, UserFunction},
    sink::Format,
};

/// Shown below the options of `holdup --help`.
const EXAMPLES: &str = "\
Examples:
  holdup record -p 4242               10 seconds of process 4242, as a table
  holdup record --comm postgres -d 1m -o pg.json --format json
  holdup record -d 30s --format svg -o wait.svg -- ./server --port 8080
  holdup snapshot -p 4242             who is blocked right now, and who holds it
  holdup show pg.json --format pprof -o pg.pb.gz
  holdup agent                        watch the node, serve 127.0.0.1:9748
  holdup wedged -p 4242               is it held up? status 3 says yes
  holdup diff before.json after.json --fail-on worse:20
  holdup doctor                       what works here, and what it costs

Exit status:
  0 done, 1 failed, 2 usage, 3 finding, 4 not permitted or not supported";

/// Which lock, how many wait, since when, at which line, who holds it.
///
/// An eBPF lock-contention profiler. Programs need no change, no restart and no
/// debug build; holdup pays only when a thread blocks.
#[derive(Clone, Debug, Parser)]
#[command(name = "holdup", version, after_help = EXAMPLES, term_width = 80, max_term_width = 80)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Subcommands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Watch for a while, then report every wait per lock
    Record(RecordArgs),
    /// Report what is blocked right now, and who holds it
    Snapshot(SnapshotArgs),
    /// Watch the node: metrics, incidents with evidence, alerts
    Agent(AgentArgs),
    /// Say by the exit status whether a process is held up
    Wedged(WedgedArgs),
    /// Say what this kernel and these privileges allow, and what it costs
    Doctor(DoctorArgs),
    /// Show a saved JSON report in another format
    Show(ShowArgs),
    /// Compare two saved JSON reports: what is new, gone, worse, better
    Diff(DiffArgs),
}

/// Which processes.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Target (exactly one)")]
pub struct TargetArgs {
    /// These processes; repeat or separate with commas
    #[arg(short, long = "pid", value_name = "PID", value_delimiter = ',')]
    pub pids: Vec<u32>,
    /// Processes of this name (as in /proc/PID/comm)
    #[arg(long, value_name = "NAME")]
    pub comm: Option<String>,
    /// Processes in this control group and below: a directory, or a path as in
    /// /proc/PID/cgroup
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,
    /// Processes of this container: its id, or the first 8 or more digits of it
    #[arg(long, value_name = "ID")]
    pub container: Option<String>,
    /// Every process on the machine
    #[arg(long)]
    pub all: bool,
}

/// How to report.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Report")]
pub struct ReportArgs {
    /// Write the report to FILE instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// table, json, pprof (for `go tool pprof`), folded (for flame graph tools),
    /// svg (a flame graph), html (a report for a browser, in one file), dot (who
    /// waits for whom, for Graphviz) or text (goroutines, as Go's own dump has them)
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        default_value_t = ReportOptions::default().format
    )]
    pub format: Format,
    /// Most rows in each section of a table
    #[arg(long, value_name = "N", default_value_t = ReportOptions::default().top)]
    pub top: usize,
}

/// Sizes of the kernel side's maps.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Most locks to keep apart; more are counted as lost
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_locks)]
    pub max_locks: u32,
    /// Most threads to keep track of
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_threads)]
    pub max_threads: u32,
    /// Buffer for sampled stacks, a power of two
    #[arg(long, value_name = "SIZE", default_value_t = Size(Limits::default().ring_bytes.into()))]
    pub ring_bytes: Size,
}

/// `holdup record`.
#[derive(Clone, Debug, clap::Args)]
#[command(override_usage = "holdup record [OPTIONS] TARGET")]
pub struct RecordArgs {
    /// Which processes.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Run this program and watch it; its output and exit status pass through
    #[arg(
        last = true,
        value_name = "-- CMD ARGS",
        help_heading = "Target (exactly one)"
    )]
    pub program: Vec<OsString>,
    /// How long to watch; Ctrl-C ends it early [default: 10s, or until CMD ends]
    #[arg(short, long, value_name = "TIME", help_heading = "Recording")]
    pub duration: Option<Time>,
    /// Least time between two stack samples of one lock
    #[arg(long, value_name = "TIME", help_heading = "Recording", default_value_t = Time(Recording::default().sample_interval))]
    pub sample_interval: Time,
    /// Do not sample stacks: counts and times only
    #[arg(long, help_heading = "Recording")]
    pub no_stacks: bool,
    /// No progress line
    #[arg(short, long, help_heading = "Recording")]
    pub quiet: bool,
    /// Uprobes besides.
    #[command(flatten)]
    pub probes: ProbeArgs,
    /// How to report.
    #[command(flatten)]
    pub report: ReportArgs,
    /// Sizes.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Uprobes, which are placed into programs only when asked for.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Uprobes")]
pub struct ProbeArgs {
    /// slow (contended paths of runtimes: exact lock kinds), entry (every lock and
    /// unlock of the target: hold times, lock order; -p or CMD only) or go
    /// (goroutines as they wait); repeat or separate with commas
    #[arg(
        long = "probe",
        value_enum,
        hide_possible_values = true,
        value_name = "WHAT",
        value_delimiter = ','
    )]
    pub probes: Vec<UprobeChoice>,
    /// Take the uprobes away when they cost the target more than so many percent
    /// of its processors for a second; 100: never
    #[arg(long, value_name = "PERCENT", default_value_t = Probes::default().max_overhead_percent)]
    pub max_overhead: u32,
    /// With --probe entry: this function acquires the lock whose address is its
    /// argument N, counted from 0, such as 'my_lock(arg0)'; repeat
    #[arg(long = "lock-fn", value_name = "NAME(argN)")]
    pub lock_functions: Vec<UserFunction>,
    /// With --probe entry: this function releases it; repeat
    #[arg(long = "unlock-fn", value_name = "NAME(argN)")]
    pub unlock_functions: Vec<UserFunction>,
}

/// A set of uprobes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UprobeChoice {
    /// Contended paths.
    Slow,
    /// Every lock and unlock.
    Entry,
    /// Goroutines.
    Go,
}

/// `holdup snapshot`.
#[derive(Clone, Debug, clap::Args)]
#[command(override_usage = "holdup snapshot [OPTIONS] TARGET")]
pub struct SnapshotArgs {
    /// Which processes.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Do not read stacks: states and locks only
    #[arg(long, help_heading = "Report")]
    pub no_stacks: bool,
    /// How to report.
    #[command(flatten)]
    pub report: ReportArgs,
}

/// `holdup agent`.
#[derive(Clone, Debug, clap::Args)]
pub struct AgentArgs {
    /// Read the configuration from FILE (TOML); without one, the defaults hold
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Serve HTTP at this address and port [default: 127.0.0.1:9748]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Keep snapshots of incidents in this directory
    /// [default: /var/lib/holdup]
    #[arg(long, value_name = "DIR")]
    pub snapshot_dir: Option<PathBuf>,
    /// default, or none: attach nothing and only count parked threads, at no
    /// cost to the watched programs
    #[arg(long, value_enum, hide_possible_values = true, value_name = "WHAT")]
    pub probe: Option<ProbeChoice>,
    /// Check the configuration, say `ok` or what is wrong with it, and end
    #[arg(long)]
    pub check: bool,
}

/// What the agent attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProbeChoice {
    /// Hooks on the contended path.
    Default,
    /// No hook.
    None,
}

/// `holdup wedged`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    override_usage = "holdup wedged [OPTIONS] TARGET",
    after_help = "\
Exit status:
  0 healthy, or it cannot be told; 3 wedged; 1, 2, 4 nothing was looked at.
  A liveness probe must fail on 3 only."
)]
pub struct WedgedArgs {
    /// Which processes.
    #[command(flatten)]
    pub target: TargetArgs,
    /// What is not known by then cannot be told
    #[arg(long, value_name = "TIME", default_value_t = Time(Duration::from_secs(5)))]
    pub timeout: Time,
    /// Take thresholds and rules from this configuration of the agent
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `holdup doctor`.
#[derive(Clone, Debug, clap::Args)]
pub struct DoctorArgs {
    /// text or json
    #[arg(long, value_enum, hide_possible_values = true, default_value_t = DoctorFormat::default())]
    pub format: DoctorFormat,
    /// Sizes.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// How `holdup doctor` writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DoctorFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// `holdup show`.
#[derive(Clone, Debug, clap::Args)]
pub struct ShowArgs {
    /// A report that was written with --format json, or a snapshot of the agent
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How to report.
    #[command(flatten)]
    pub report: ReportArgs,
}

/// `holdup diff`.
#[derive(Clone, Debug, clap::Args)]
pub struct DiffArgs {
    /// A report that was written with --format json, or a snapshot of the agent
    #[arg(value_name = "BEFORE")]
    pub before: PathBuf,
    /// Another one, of the same or another kind
    #[arg(value_name = "AFTER")]
    pub after: PathBuf,
    /// Exit with 3 when a lock has become worse by more than so many percent,
    /// or is new
    #[arg(long, value_name = "worse:PERCENT")]
    pub fail_on: Option<Worse>,
    /// Write the comparison to FILE instead of standard output
    #[arg(short, long, value_name = "FILE", help_heading = "Report")]
    pub output: Option<PathBuf>,
    /// table or json
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        default_value_t = DiffFormat::default(),
        help_heading = "Report"
    )]
    pub format: DiffFormat,
    /// Most rows of a table
    #[arg(long, value_name = "N", default_value_t = ReportOptions::default().top, help_heading = "Report")]
    pub top: usize,
}

/// How `holdup diff` writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DiffFormat {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}
