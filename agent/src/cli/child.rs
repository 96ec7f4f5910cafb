//! A program that is started for being watched: it exists, but executes nothing before everything is attached.

use std::{
    ffi::{CString, OsStr, OsString},
    io::{self, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{
            ffi::OsStrExt as _,
            process::{CommandExt as _, ExitStatusExt as _},
        },
    },
    path::{Path, PathBuf},
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
    program: PathBuf,
}

/// How the program ended, once it has.
#[derive(Debug)]
pub struct Status(Arc<OnceLock<io::Result<ExitStatus>>>, String);

impl Status {
    /// Exit status as a shell reports it: 128 plus the signal for a killed program; `None` while it runs.
    ///
    /// # Errors
    /// The program could not be started.
    pub fn now(&self) -> Result<Option<u8>, Error> {
        let Some(ended) = self.0.get() else {
            return Ok(None);
        };
        let status = ended.as_ref().map_err(|error| {
            let failed = Error::failed(format!("cannot run {}: {error}", self.1));
            if error.raw_os_error() == Some(libc::ENOEXEC) {
                failed.with_hint(
                    "it is neither a program for this machine nor a script that begins with #!",
                )
            } else {
                failed
            }
        })?;
        let code = status.code().or_else(|| Some(128 + status.signal()?));
        Ok(code.and_then(|code| u8::try_from(code & 0xff).ok()))
    }
}

impl Child {
    /// Forks.
    ///
    /// # Errors
    /// No process can be made.
    pub fn prepare(program: &[OsString]) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::failed(format!("cannot start a process: {error}"));
        let name = program
            .first()
            .ok_or_else(|| Error::usage("no program to run"))?;
        let path = find(name)?;
        let arguments = Arguments::new(&path, program)?;
        let (mut told, tell) = io::pipe().map_err(failed)?;
        let (wait, go) = io::pipe().map_err(failed)?;
        let mut command = Command::new(&path);
        let go_fd = go.as_raw_fd();
        // SAFETY: between fork and exec only async-signal-safe calls are made: write, close and read on pipes that
        // the closure owns, and the exec itself; no allocation.
        unsafe {
            command.pre_exec(move || {
                let pid = libc::getpid().to_ne_bytes();
                (&tell).write_all(&pid)?;
                // Our own copy of the writing end would keep us waiting after a death of holdup.
                libc::close(go_fd);
                let mut byte = [0];
                match (&wait).read(&mut byte)? {
                    // Here and not by `Command`, which runs as a shell script what is no program.
                    1 => Err(arguments.execute()),
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
            program: path,
        })
    }

    /// Path of the program that it will execute.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
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

/// Path of a program: as given, or found in `PATH`.
fn find(name: &OsStr) -> Result<PathBuf, Error> {
    let found = if name.as_bytes().contains(&b'/') {
        Some(PathBuf::from(name))
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
    };
    let shown = name.to_string_lossy();
    let path =
        found.ok_or_else(|| Error::failed(format!("cannot run {shown}: not found in PATH")))?;
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => Err(Error::failed(format!(
            "cannot run {shown}: it is a directory"
        ))),
        Ok(_) => Ok(path),
        Err(error) => Err(Error::failed(format!("cannot run {shown}: {error}"))),
    }
}

/// What `execv` wants, made before the fork.
struct Arguments {
    path: CString,
    _strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

// SAFETY: the pointers are into `_strings`, whose contents do not move with it.
unsafe impl Send for Arguments {}
// SAFETY: nothing is ever changed.
unsafe impl Sync for Arguments {}

impl Arguments {
    fn new(path: &Path, program: &[OsString]) -> Result<Self, Error> {
        let nul = |_| Error::usage("an argument of the program contains a NUL byte");
        let path = CString::new(path.as_os_str().as_bytes()).map_err(nul)?;
        let strings: Vec<CString> = program
            .iter()
            .map(|argument| CString::new(argument.as_bytes()).map_err(nul))
            .collect::<Result<_, _>>()?;
        let pointers = strings.iter().map(|string| string.as_ptr());
        let pointers = pointers.chain([std::ptr::null()]).collect();
        Ok(Self {
            path,
            _strings: strings,
            pointers,
        })
    }

    /// Becomes the program, with the environment as it is; returns only when that fails.
    fn execute(&self) -> io::Error {
        // SAFETY: `path` and all of `pointers` are NUL-terminated strings; the list ends with null.
        unsafe { libc::execv(self.path.as_ptr(), self.pointers.as_ptr()) };
        io::Error::last_os_error()
    }
}
