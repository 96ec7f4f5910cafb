//! Child processes with deadlines, which do not outlive the test.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Child, ExitStatus},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

/// Longest that anything may take before the test fails. Generous: a slow machine is not a wrong result.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A child process that is killed and waited for when dropped.
#[derive(Debug)]
pub struct Guarded(Child);

impl Guarded {
    /// Takes charge of `child`.
    #[must_use]
    pub const fn new(child: Child) -> Self {
        Self(child)
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The child itself.
    pub const fn get(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Sends `signal`.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: i32) -> Result<()> {
        kill(self.pid(), signal)
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// When it does not within [`DEADLINE`].
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            ensure!(
                started.elapsed() < DEADLINE,
                "process {} did not end",
                self.pid()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends `signal` to process `pid`.
///
/// # Errors
/// When there is no such process.
pub fn kill(pid: u32, signal: i32) -> Result<()> {
    let pid = i32::try_from(pid)?;
    // SAFETY: `kill` takes no pointers.
    if unsafe { libc::kill(pid, signal) } != 0 {
        bail!(
            "signal {signal} to {pid}: {}",
            std::io::Error::last_os_error()
        );
    }
    Ok(())
}

/// Lines of a stream, read by a thread, so that waiting for one can have a deadline.
#[derive(Debug)]
pub struct Lines {
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Lines {
    /// Starts reading `stream`. Both `\n` and `\r` end a line, since progress lines use the latter.
    pub fn of(stream: impl Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut bytes = Vec::new();
            while matches!(stream.read_until(b'\n', &mut bytes), Ok(1..)) {
                for line in String::from_utf8_lossy(&bytes).split(['\r', '\n']) {
                    if !line.is_empty() && sender.send(line.to_owned()).is_err() {
                        return;
                    }
                }
                bytes.clear();
            }
        });
        Self {
            lines,
            seen: Vec::new(),
        }
    }

    /// The next line.
    ///
    /// # Errors
    /// When the stream ends, or nothing comes within [`DEADLINE`].
    pub fn line(&mut self) -> Result<String> {
        let line = match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => bail!("no line came; before that: {:?}", self.seen),
            Err(RecvTimeoutError::Disconnected) => bail!("ended; before that: {:?}", self.seen),
        };
        self.seen.push(line.clone());
        Ok(line)
    }

    /// Skips to the first line that begins with `start`.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub fn until(&mut self, start: &str) -> Result<String> {
        loop {
            let line = self
                .line()
                .with_context(|| format!("waiting for a line that begins with {start:?}"))?;
            if line.starts_with(start) {
                return Ok(line);
            }
        }
    }

    /// All lines up to the end of the stream, those already seen included.
    #[must_use]
    pub fn all(mut self) -> String {
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            self.seen.push(line);
        }
        self.seen.join("\n")
    }
}
