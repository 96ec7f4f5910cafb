//! Who watches while the workload runs: a table, and starting one row of it.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::empty;
use crate::{child::Running, shell};

/// How an observer is started. `PID` in an argument stands for the workload's process id.
enum How {
    /// Not at all.
    Nobody,
    /// By us, see [`empty`].
    Empty,
    /// The agent, with these arguments.
    Agent(&'static [&'static str]),
    /// A program that says a word on its standard output once it is attached.
    Speaking(&'static [&'static str], &'static str),
    /// A program that says nothing; attached after a while.
    Silent(&'static [&'static str]),
}

/// One row.
pub struct Observer {
    /// Name in the report.
    pub name: &'static str,
    how: How,
}

/// Programs that say nothing get this long to attach.
const PATIENCE: Duration = Duration::from_millis(2500);

/// The others must be attached by then.
const LIMIT: Duration = Duration::from_secs(30);

/// Name of the row that all others are compared with.
pub const BASE: &str = "untraced";
/// Name of the row that costs the least a tracer can cost.
pub const FLOOR: &str = "empty programs on the futex tracepoints";

/// Waits by lock: count, total, maximum, histogram, as the agent keeps them. The interval probe speaks up once: probes
/// are attached in turn, and it is the last.
macro_rules! bpftrace {
    ($extra:literal) => {
        concat!(
            "tracepoint:syscalls:sys_enter_futex / pid == PID && ((args->op & 127) == 0 || (args->op & 127) == 9) / {",
            " @start[tid] = nsecs; @lock[tid] = args->uaddr; ",
            $extra,
            "}",
            "tracepoint:syscalls:sys_exit_futex / @start[tid] / {",
            " $ns = nsecs - @start[tid]; $lock = @lock[tid];",
            " @count[$lock] = count(); @total[$lock] = sum($ns); @max[$lock] = max($ns); @waits[$lock] = hist($ns);",
            " delete(@start[tid]); delete(@lock[tid]); }",
            "interval:ms:300 / !@said / { printf(\"attached\\n\"); @said = 1; }",
        )
    };
}

/// All of them, in the order of the report.
pub const OBSERVERS: &[Observer] = &[
    Observer {
        name: BASE,
        how: How::Nobody,
    },
    Observer {
        name: FLOOR,
        how: How::Empty,
    },
    Observer {
        name: "holdup record -p PID",
        how: How::Agent(&["record", "-d", "600s", "-o", "/dev/null", "-p", "PID"]),
    },
    Observer {
        // A hit for each wait, and a look at what it told.
        name: "holdup record -p PID --probe slow",
        how: How::Agent(&[
            "record",
            "-d",
            "600s",
            "-o",
            "/dev/null",
            "--probe",
            "slow",
            "--max-overhead",
            "100",
            "-p",
            "PID",
        ]),
    },
    Observer {
        name: "holdup record --all",
        how: How::Agent(&["record", "-d", "600s", "-o", "/dev/null", "--all"]),
    },
    Observer {
        name: "bpftrace, histogram per lock",
        how: How::Speaking(&["bpftrace", "-e", bpftrace!("")], "attached"),
    },
    Observer {
        name: "bpftrace, histogram per lock, stacks",
        how: How::Speaking(
            &["bpftrace", "-e", bpftrace!("@stacks[ustack] = count(); ")],
            "attached",
        ),
    },
    Observer {
        name: "futexctn (libbpf-tools)",
        how: How::Silent(&["futexctn", "-p", "PID", "600"]),
    },
    Observer {
        name: "offcputime (libbpf-tools)",
        how: How::Silent(&["offcputime", "-p", "PID", "600"]),
    },
    Observer {
        // Not `-p PID`: that sees the threads that exist when it starts, and no later ones.
        name: "perf trace -a -e futex -s",
        how: How::Silent(&["perf", "trace", "-a", "-e", "futex", "-s"]),
    },
    Observer {
        name: "strace -c -f -e futex",
        how: How::Silent(&["strace", "-c", "-f", "-e", "trace=futex", "-p", "PID"]),
    },
];

/// Somebody who watches; stops when dropped.
pub enum Watching {
    /// Nobody.
    Nobody,
    /// Empty programs.
    Empty { _attached: empty::Attached },
    /// A program.
    Program(Running),
}

impl Observer {
    /// Whether it is the agent, which this benchmark is about: the others may fail, that only leaves their rows empty.
    pub const fn is_agent(&self) -> bool {
        matches!(self.how, How::Agent(_))
    }

    /// Whether its program is installed.
    pub fn is_installed(&self) -> bool {
        match &self.how {
            How::Nobody | How::Empty | How::Agent(_) => true,
            How::Speaking(words, _) | How::Silent(words) => words
                .first()
                .is_some_and(|name| shell::find(name).is_some()),
        }
    }

    /// Starts it and returns once it is attached.
    pub fn start(&self, agent: &Path, pid: u32) -> Result<Watching> {
        let running = match &self.how {
            How::Nobody => return Ok(Watching::Nobody),
            How::Empty => {
                let _attached = empty::attach()?;
                return Ok(Watching::Empty { _attached });
            }
            How::Agent(arguments) => {
                let mut command = fill(Command::new(agent), arguments, pid);
                let running = Running::start_listening_to_errors(&mut command)?;
                running.line_with("recording", LIMIT)?;
                running
            }
            How::Speaking(words, said) => {
                let mut command = command(words, pid)?;
                let running = Running::start(command.stderr(Stdio::null()))?;
                running.line_with(said, LIMIT)?;
                running
            }
            How::Silent(words) => {
                let running = Running::start_unheard(&mut command(words, pid)?)?;
                std::thread::sleep(PATIENCE);
                running
            }
        };
        Ok(Watching::Program(running))
    }
}

impl Watching {
    /// Fails when the observer has ended by itself: then nobody watched for part of the time.
    pub fn stop(self) -> Result<()> {
        if let Self::Program(mut running) = self {
            running.check_alive()?;
            running.signal(libc::SIGINT)?;
            // How it ends is not measured; some report failure when interrupted. It is killed if it does not.
            let _ = running.wait(LIMIT);
        }
        Ok(())
    }
}

fn command(words: &[&str], pid: u32) -> Result<Command> {
    let (name, arguments) = words.split_first().context("no program")?;
    let program = shell::find(name).with_context(|| format!("{name} is not installed"))?;
    Ok(fill(Command::new(program), arguments, pid))
}

fn fill(mut command: Command, arguments: &[&str], pid: u32) -> Command {
    let pid = pid.to_string();
    command.args(arguments.iter().map(|word| word.replace("PID", &pid)));
    command
}
