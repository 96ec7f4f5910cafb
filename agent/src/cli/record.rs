//! `holdup record`.

use std::{
    future::Future,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use tokio::{signal, sync::oneshot, time};

use super::{
    child::Child,
    config::{Limits, RecordConfig},
    exit::{Error, Exit},
    output::Output,
    target::{self, Target},
    watch,
};
use crate::{
    pipeline::{Options, Progress, Recording, Watch},
    probe::{feature::Features, object::Capacity},
    proc::process::Proc,
    sink::{Report, text},
};

/// How often the watched processes are looked for.
const LIFE_CHECK: Duration = Duration::from_millis(200);

/// Records, then reports.
///
/// # Errors
/// The target or the output is not usable, or the kernel refuses.
pub fn run(config: &RecordConfig) -> Result<Exit, Error> {
    let output = Output::open(&config.report)?;
    let target = target::resolve(&config.target, &Proc::default())?;
    let features = Features::detect();
    watch::check_namespace(&features)?;
    let (child, watch) = match &target {
        Target::Program(program) => {
            let child = Child::prepare(program)?;
            let watch = Watch::Family(vec![child.pid()]);
            (Some(child), watch)
        }
        target => (None, watch::of(target)),
    };
    let options = Options {
        watch,
        capacity: capacity(&config.limits),
        sample_interval: config
            .recording
            .stacks
            .then_some(config.recording.sample_interval),
        probes: config.probes.clone(),
        tell: |text| {
            let _ = writeln!(io::stderr().lock(), "holdup: {text}");
        },
    };
    let mut recording = Recording::start(&features, &options).map_err(watch::plane_error)?;
    if let Some(child) = &child {
        recording.expect(child.pid(), child.program());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::failed(format!("cannot start: {error}")))?;
    let (report, status) =
        runtime.block_on(record(&mut recording, config, &options.watch, child))?;
    output.report(&Report::Capture(report))?;
    // Not earlier: detaching takes long.
    drop(recording);
    Ok(status.map_or(Exit::Done, Exit::Child))
}

/// Room in the kernel for what was asked.
#[must_use]
pub const fn capacity(limits: &Limits) -> Capacity {
    let Limits {
        max_locks,
        max_threads,
        ring_bytes,
    } = *limits;
    Capacity {
        locks: max_locks,
        threads: max_threads,
        ring_bytes,
        entry: false,
    }
}

async fn record(
    recording: &mut Recording,
    config: &RecordConfig,
    watch: &Watch,
    child: Option<Child>,
) -> Result<(crate::model::Capture, Option<u8>), Error> {
    let failed = |error: io::Error| Error::failed(format!("cannot record: {error}"));
    // Before anybody is told that recording has begun: they may send the signal at once.
    let mut interrupt =
        signal::unix::signal(signal::unix::SignalKind::interrupt()).map_err(failed)?;
    let mut terminate =
        signal::unix::signal(signal::unix::SignalKind::terminate()).map_err(failed)?;
    let mut line = ProgressLine::new(config.recording.progress);
    line.begin(watch, config.recording.duration);
    let (status, ended) = match child {
        Some(child) => {
            let (status, ended) = child.go();
            (Some(status), Some(ended))
        }
        None => (None, None),
    };
    let until = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = after(config.recording.duration) => {}
            () = all_gone(watch, ended) => {}
        }
    };
    recording
        .run(until, |progress| line.show(progress))
        .await
        .map_err(failed)?;
    line.end();
    let status = status.map_or(Ok(None), |status| status.now())?;
    let report = recording.finish().map_err(watch::plane_error)?;
    Ok((report, status))
}

async fn after(duration: Option<Duration>) {
    match duration {
        Some(duration) => time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Ready when nobody is left to watch. Names and cgroups can get new members, so those are watched on.
fn all_gone(watch: &Watch, ended: Option<oneshot::Receiver<()>>) -> impl Future<Output = ()> {
    let pids = match (watch, &ended) {
        (Watch::Processes(pids), None) => pids.clone(),
        _ => Vec::new(),
    };
    async move {
        if let Some(ended) = ended {
            // An error means that the waiting thread is gone, and so is the child.
            let _ = ended.await;
            return;
        }
        if pids.is_empty() {
            return std::future::pending().await;
        }
        let proc = Proc::default();
        let started: Vec<_> = pids.iter().map(|&pid| proc.stat(pid)).collect();
        loop {
            let lives = |(&pid, was): (&u32, &Option<crate::proc::process::Stat>)| {
                let now = proc.stat(pid);
                now.is_some_and(|now| {
                    now.state != b'Z' && was.is_some_and(|was| was.start_ticks == now.start_ticks)
                })
            };
            if !pids.iter().zip(&started).any(lives) {
                return;
            }
            time::sleep(LIFE_CHECK).await;
        }
    }
}

/// What the user sees meanwhile, on standard error.
struct ProgressLine {
    wanted: bool,
    /// Rewritten in place on a terminal; elsewhere only the first line is printed.
    live: bool,
    shown: bool,
}

impl ProgressLine {
    fn new(wanted: bool) -> Self {
        Self {
            wanted,
            live: wanted && io::stderr().is_terminal(),
            shown: false,
        }
    }

    fn begin(&mut self, watch: &Watch, duration: Option<Duration>) {
        if self.wanted {
            let what = watch::describe(watch);
            let how_long = match duration {
                Some(duration) => format!(
                    "for {}; Ctrl-C ends early",
                    humantime::format_duration(duration)
                ),
                None => "until it ends or Ctrl-C".to_owned(),
            };
            // Nobody to tell when standard error is closed; so below.
            let _ = writeln!(io::stderr().lock(), "recording {what} {how_long}");
        }
    }

    fn show(&mut self, progress: &dyn Fn() -> Progress) {
        if self.live {
            let Progress {
                elapsed,
                waits,
                locks,
                waiters,
            } = progress();
            let seconds = elapsed.as_secs_f64();
            // Condition variables and idle workers are among them: what is a lock is known at the end.
            let text =
                format!("{seconds:.1} s: {waits} waits on {locks} futexes, {waiters} waiting now");
            // A line that wraps cannot be rewritten in place.
            let columns = terminal_size::terminal_size_of(io::stderr())
                .map_or(usize::MAX, |(terminal_size::Width(columns), _)| {
                    columns.into()
                });
            let text = text::truncate_end(&text, columns.saturating_sub(1));
            let mut stderr = io::stderr().lock();
            let _ = write!(stderr, "\r\x1b[K{text}");
            let _ = stderr.flush();
            self.shown = true;
        }
    }

    fn end(&mut self) {
        if self.shown {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}
