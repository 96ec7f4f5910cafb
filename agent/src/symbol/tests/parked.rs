//! A child process whose threads are parked, and what `/proc` says about them.

use std::{
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use holdup_abi::record::Regs;

use crate::{
    model::Frame,
    proc::memory::{Copied, Memory as _, Process},
    symbol::{Space, Symbols},
};

/// Killed when dropped.
pub struct Parked {
    child: Child,
    pid: u32,
}

impl Parked {
    /// Starts `command` and waits until `threads` of its threads sleep in a futex wait.
    pub fn start(command: &mut Command, threads: usize) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // With everything that it starts, when the test ends it.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let pid = child.id();
        let parked = Self { child, pid };
        let deadline = Instant::now() + Duration::from_secs(20);
        while parked.waits().len() < threads {
            assert!(Instant::now() < deadline, "{command:?} never parked");
            std::thread::sleep(Duration::from_millis(5));
        }
        parked
    }

    /// Its address space.
    pub fn space(&self) -> Space {
        Space {
            pid: self.pid,
            generation: 0,
        }
    }

    /// Registers of the threads in futex waits; the frame pointer is not known.
    pub fn waits(&self) -> Vec<Regs> {
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{}/task", self.pid)) else {
            return Vec::new();
        };
        let mut threads: Vec<u32> = tasks
            .filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        threads.sort_unstable();
        threads
            .into_iter()
            .filter_map(|thread| {
                let path = format!("/proc/{}/task/{thread}/syscall", self.pid);
                let text = std::fs::read_to_string(path).ok()?;
                let words: Vec<&str> = text.split_whitespace().collect();
                let number: libc::c_long = words.first()?.parse().ok()?;
                let hex = |index: usize| {
                    u64::from_str_radix(words.get(index)?.trim_start_matches("0x"), 16).ok()
                };
                (number == libc::SYS_futex).then_some(())?;
                Some(Regs {
                    pc: hex(8)?,
                    sp: hex(7)?,
                    fp: 0,
                    lr: 0,
                })
            })
            .collect()
    }

    /// Unwinds and names the stack of the last waiting thread, from the process's memory.
    pub fn stack(&self, symbols: &mut Symbols) -> Vec<Frame> {
        let memory = Process { pid: self.pid };
        let regs = *self.waits().last().unwrap();
        let raw = symbols.unwind(self.space(), regs, &memory);
        symbols.symbolize(self.space(), &raw)
    }

    /// A copy of the last waiting thread's stack, as a sample has it.
    pub fn sample(&self) -> (Regs, Vec<u8>) {
        let memory = Process { pid: self.pid };
        let regs = *self.waits().last().unwrap();
        let mut bytes = vec![0; 8192];
        while !memory.read(regs.sp, &mut bytes) {
            bytes.truncate(bytes.len() - 64);
        }
        (regs, bytes)
    }

    /// Ends it.
    pub fn kill(&mut self) {
        let group = -libc::pid_t::try_from(self.pid).unwrap();
        // SAFETY: no memory is involved; the group was made for this child.
        unsafe { libc::kill(group, libc::SIGKILL) };
        self.child.wait().unwrap();
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A sampled stack.
pub fn copied<'a>(regs: &Regs, bytes: &'a [u8]) -> Copied<'a> {
    Copied {
        base: regs.sp,
        bytes,
    }
}

/// The frames' names, for messages.
pub fn names(frames: &[Frame]) -> Vec<String> {
    frames
        .iter()
        .map(|frame| {
            let guess = if frame.guessed { "?" } else { "" };
            let inlined = if frame.inlined { " (inlined)" } else { "" };
            let name = frame.function.as_deref().unwrap_or("-");
            format!("{guess}{name}{inlined} {:?}:{:?}", frame.file, frame.line)
        })
        .collect()
}

/// The frame of that function.
pub fn frame<'a>(frames: &'a [Frame], function: &str) -> &'a Frame {
    frames
        .iter()
        .find(|frame| frame.function.as_deref() == Some(function))
        .unwrap_or_else(|| panic!("no {function} in {:#?}", names(frames)))
}
