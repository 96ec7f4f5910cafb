//! A program that is started for being watched: it exists, but executes nothing before everything is attached.

use std::{
    ffi::OsString,
    io::{self, Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _, unix::process::ExitStatusExt as _},
    process::{Command, ExitStatus},
    sync::{Arc, OnceLock},
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;

use super::exit::Error;

/// A forked process that waits to execute its program.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    go: io::PipeWriter,
    thread: JoinHandle<()>,
    status: Arc<OnceLock<io::Result<ExitStatus>>>,
    ended: oneshot::Receiver<()>,
    name: String,
}

/// How the program ended, once it has.
#[derive(Debug)]
pub struct Status(Arc<OnceLock<io::Result<ExitStatus>>>, String);

impl Status {
    /// Exit status as a shell reports it: 128 plus the signal for a killed program, 127 for one that could not be
    /// started; `None` while it runs.
    #[must_use]
    pub fn now(&self) -> Option<u8> {
        const NOT_STARTED: u8 = 127;
        match self.0.get()? {
            Ok(status) => {
                let code = status.code().or_else(|| Some(128 + status.signal()?));
                code.and_then(|code| u8::try_from(code & 0xff).ok())
            }
            Err(error) => {
                Error::failed(format!("cannot run {}: {error}", self.1)).print();
                Some(NOT_STARTED)
            }
        }
    }
}

impl Child {
    /// Forks.
    ///
    /// # Errors
    /// No process can be made.
    pub fn prepare(program: &[OsString]) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::failed(format!("cannot start a process: {error}"));
        let (name, arguments) = program
            .split_first()
            .ok_or_else(|| Error::usage("no program to run"))?;
        let (mut told, tell) = io::pipe().map_err(failed)?;
        let (wait, go) = io::pipe().map_err(failed)?;
        let mut command = Command::new(name);
        command.args(arguments);
        let go_fd = go.as_raw_fd();
        // SAFETY: between fork and exec only async-signal-safe calls are made: write, close and read on pipes that
        // the closure owns; no allocation.
        unsafe {
            command.pre_exec(move || {
                let pid = libc::getpid().to_ne_bytes();
                (&tell).write_all(&pid)?;
                // Our own copy of the writing end would keep us waiting after a death of holdup.
                libc::close(go_fd);
                let mut byte = [0];
                match (&wait).read(&mut byte)? {
                    1 => Ok(()),
                    _ => Err(io::ErrorKind::Interrupted.into()),
                }
            });
        }
        let status = Arc::new(OnceLock::new());
        let (end, ended) = oneshot::channel();
        // `spawn` returns only when the program executes, so it has to wait in a thread.
        let thread = thread::Builder::new()
            .name("holdup-child".into())
            .spawn({
                let status = Arc::clone(&status);
                move || {
                    let result = command.spawn();
                    drop(command);
                    let _ = status.set(result.and_then(|mut child| child.wait()));
                    let _ = end.send(());
                }
            })
            .map_err(failed)?;
        let mut pid = [0; 4];
        told.read_exact(&mut pid).map_err(failed)?;
        let name = name.to_string_lossy().into_owned();
        Ok(Self {
            pid: u32::from_ne_bytes(pid),
            go,
            thread,
            status,
            ended,
            name,
        })
    }

    /// Process id.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets it execute its program. The receiver is told when the program has ended.
    #[must_use]
    pub fn go(mut self) -> (Status, oneshot::Receiver<()>) {
        // If this fails the child is gone already, which its status tells.
        let _ = self.go.write_all(&[1]);
        drop(self.thread);
        (Status(self.status, self.name), self.ended)
    }
}
