//! Runs the product.

use std::{
    env, fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    child::{Guarded, Lines},
    report::{Capture, Snapshot},
    scratch::{self, Scratch},
};

/// The binary under test: `$HOLDUP_BIN`, else the one that Cargo built beside the tests.
///
/// # Errors
/// When it is not there.
pub fn binary() -> Result<PathBuf> {
    let path = match env::var_os("HOLDUP_BIN") {
        Some(path) => PathBuf::from(path),
        None => scratch::profile_dir()?.join("holdup"),
    };
    if !path.is_file() {
        bail!(
            "there is no binary to test at {}: build it with `cargo build -p holdup`, or name one in HOLDUP_BIN",
            path.display()
        );
    }
    Ok(path)
}

/// The statically linked binary that goes into containers: `$HOLDUP_STATIC_BIN`, else the one that xtask built.
///
/// # Errors
/// When it is not there.
pub fn static_binary() -> Result<PathBuf> {
    let path = match env::var_os("HOLDUP_STATIC_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let target = format!("{}-unknown-linux-gnu", env::consts::ARCH);
            let built = scratch::target_dir()?.join("vm/build").join(target);
            built.join("release/holdup")
        }
    };
    if !path.is_file() {
        bail!(
            "there is no static binary at {}: build it with `cargo xtask dist`",
            path.display()
        );
    }
    Ok(path)
}

/// A command that will run the product.
///
/// # Errors
/// As [`binary`].
pub fn command(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(arguments).stdin(Stdio::null());
    Ok(command)
}

/// What a finished run left.
#[derive(Debug)]
pub struct Finished {
    /// Exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Fails unless the exit status is `code`.
    ///
    /// # Errors
    /// With everything that was printed.
    pub fn expect(&self, code: i32) -> Result<&Self> {
        ensure!(
            self.status.code() == Some(code),
            "wanted exit status {code}, got {}\nstandard output: {}\nstandard error: {}",
            self.status,
            self.text(),
            self.stderr
        );
        Ok(self)
    }
}

/// Runs the product to its end.
///
/// # Errors
/// When it cannot be run or does not end in time. That it fails is no error here.
pub fn run(arguments: &[&str]) -> Result<Finished> {
    finish(&mut command(arguments)?)
}

/// Runs `command` to its end.
///
/// # Errors
/// As [`run`].
pub fn finish(command: &mut Command) -> Result<Finished> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{command:?}"))?;
    let mut stdout = child.stdout.take().context("no standard output")?;
    let stderr = Lines::of(child.stderr.take().context("no standard error")?);
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).map(|_| bytes)
    });
    let status = Guarded::new(child)
        .wait()
        .with_context(|| format!("{command:?}"))?;
    let Ok(stdout) = reader.join() else {
        bail!("the thread that reads standard output died");
    };
    Ok(Finished {
        status,
        stdout: stdout?,
        stderr: stderr.all(),
    })
}

/// `holdup snapshot` of one process.
///
/// # Errors
/// When it fails or breaks a rule.
pub fn snapshot(pid: u32) -> Result<Snapshot> {
    let finished = run(&["snapshot", "-p", &pid.to_string(), "--format", "json"])?;
    Snapshot::parse(&finished.expect(0)?.text())
}

/// A `holdup record` that is going on.
#[derive(Debug)]
pub struct Recording {
    child: Guarded,
    stderr: Lines,
    report: PathBuf,
    _scratch: Scratch,
}

impl Recording {
    /// Begins to record process `pid` and waits until holdup says that it does.
    ///
    /// # Errors
    /// When it does not begin.
    pub fn of(pid: u32) -> Result<Self> {
        Self::with(&["-p", &pid.to_string()])
    }

    /// As [`Self::of`], with a target and options of the caller's choice.
    ///
    /// # Errors
    /// As there.
    pub fn with(arguments: &[&str]) -> Result<Self> {
        Self::in_format("json", arguments)
    }

    /// As [`Self::with`], for a report in another format; see [`Self::stop_raw`].
    ///
    /// # Errors
    /// As there.
    pub fn in_format(format: &str, arguments: &[&str]) -> Result<Self> {
        let scratch = Scratch::new()?;
        let report = scratch.join("report");
        let mut child = command(&["record", "-d", "10m", "--format", format, "-o"])?
            .arg(&report)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().context("no standard error")?;
        let mut recording = Self {
            child: Guarded::new(child),
            stderr: Lines::of(stderr),
            report,
            _scratch: scratch,
        };
        recording.stderr.until("recording")?;
        Ok(recording)
    }

    /// Process id of holdup.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Ends it as Ctrl-C does and reads its report.
    ///
    /// # Errors
    /// When holdup fails, or its report breaks a rule.
    pub fn stop(self) -> Result<Capture> {
        self.child.signal(libc::SIGINT)?;
        self.wait()
    }

    /// Ends it as Ctrl-C does and returns its report unread.
    ///
    /// # Errors
    /// When holdup fails.
    pub fn stop_raw(self) -> Result<Vec<u8>> {
        self.child.signal(libc::SIGINT)?;
        self.wait_raw()
    }

    /// Waits until it ends by itself and reads its report.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub fn wait(self) -> Result<Capture> {
        let own_pid = self.pid();
        let json = String::from_utf8(self.wait_raw()?)?;
        let capture = Capture::parse(&json)?;
        ensure!(
            capture
                .processes
                .iter()
                .all(|process| process.pid != own_pid)
                && capture.locks.iter().all(|lock| lock.pid != own_pid),
            "holdup is in its own report"
        );
        Ok(capture)
    }

    fn wait_raw(mut self) -> Result<Vec<u8>> {
        let status = self.child.wait()?;
        let stderr = self.stderr.all();
        ensure!(status.success(), "holdup record: {status}\n{stderr}");
        fs::read(&self.report).with_context(|| self.report.display().to_string())
    }
}

/// Reads a saved report.
///
/// # Errors
/// When it cannot be read or breaks a rule.
pub fn read(path: &Path) -> Result<Capture> {
    let json = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Capture::parse(&json)
}
