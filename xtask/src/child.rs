//! A program that runs beside us, tells us things line by line, and is gone when we are done with it.

use std::{
    io::{Read, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// A running program; killed when dropped.
pub struct Running {
    name: String,
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Starts a program and listens to its standard output.
    pub fn start(command: &mut Command) -> Result<Self> {
        Self::spawn(command.stdout(Stdio::piped()))
    }

    /// Starts a program whose output nobody wants, but for its last words when it fails.
    pub fn start_unheard(command: &mut Command) -> Result<Self> {
        Self::spawn(command.stdout(Stdio::null()).stderr(Stdio::piped()))
    }

    /// Starts a program and listens to its standard error output.
    pub fn start_listening_to_errors(command: &mut Command) -> Result<Self> {
        Self::spawn(command.stderr(Stdio::piped()))
    }

    fn spawn(command: &mut Command) -> Result<Self> {
        let name = command.get_program().display().to_string();
        let mut child = command
            .stdin(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let (sender, lines) = mpsc::channel();
        // At most one of them is a pipe. It is read to its end, so that the program never blocks on it.
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || split_lines(output, &sender));
        } else if let Some(output) = child.stderr.take() {
            std::thread::spawn(move || split_lines(output, &sender));
        }
        Ok(Self { name, child, lines })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that contains `part`; fails when there is none until `limit` has passed or the program ends.
    pub fn line_with(&self, part: &str, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(part) => return Ok(line),
                Ok(line) => seen.push(line),
                Err(error) => bail!(
                    "{} did not say {part:?} ({error}); it said: {}",
                    self.name,
                    seen.join(" | ")
                ),
            }
        }
    }

    /// Writes one byte to its standard input.
    pub fn send(&mut self, byte: u8) -> Result<()> {
        let input = self.child.stdin.as_mut().context("no standard input")?;
        input
            .write_all(&[byte])
            .and_then(|()| input.flush())
            .with_context(|| format!("cannot write to {}", self.name))
    }

    /// Fails when it has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        let status = self.child.try_wait();
        match status.with_context(|| format!("cannot wait for {}", self.name))? {
            None => Ok(()),
            Some(status) => bail!("{} ended too early: {status}", self.name),
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) -> Result<()> {
        let pid = i32::try_from(self.pid()).context("process id")?;
        // SAFETY: takes two integers. The process was not waited for, so its id cannot belong to another one.
        if unsafe { libc::kill(pid, signal) } != 0 {
            return Err(std::io::Error::last_os_error())
                .with_context(|| format!("cannot signal {}", self.name));
        }
        Ok(())
    }

    /// Waits until it ends; fails when `limit` has passed.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.child.try_wait();
            if let Some(status) =
                status.with_context(|| format!("cannot wait for {}", self.name))?
            {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} did not end within {} s", self.name, limit.as_secs());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends on every line; a progress line that is overwritten in place ends with a carriage return instead.
fn split_lines(mut output: impl Read, sender: &mpsc::Sender<String>) {
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = output.read(&mut buffer) {
        for byte in buffer.iter().take(length) {
            if matches!(byte, b'\n' | b'\r') {
                // Nobody listens any more: keep reading, so that the program does not block.
                let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
                line.clear();
            } else {
                line.push(*byte);
            }
        }
    }
}
