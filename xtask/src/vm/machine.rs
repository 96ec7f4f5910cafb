//! The emulated machine: start it, watch its console, believe only an explicit verdict.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{shell, ui};

/// Begins the line that carries the verdict.
pub const VERDICT: &str = "init: ";

/// Line that the first program prints before anything else.
pub const STARTED: &str = "init started";

/// Boots that may break before [`STARTED`]: nothing of ours has run by then.
const ATTEMPTS: usize = 3;

/// What a kernel prints when it is broken.
const BROKEN: &[&str] = &["Kernel panic", "Oops:", "BUG: ", "general protection fault"];

/// A slow emulation is not a broken kernel.
const HARMLESS: &[&str] = &["soft lockup"];

/// Boots a kernel and waits for the verdict: what follows [`VERDICT`] on the last such line.
///
/// # Errors
/// The kernel breaks, the machine stops without a verdict, or the deadline passes. The console is in `log` then.
pub fn boot(image: &Path, initramfs: &Path, log: &Path, deadline: Duration) -> Result<String> {
    let mut attempt = 1;
    loop {
        let Console { text, outcome } = boot_once(image, initramfs, deadline)?;
        fs::write(log, &text).with_context(|| format!("cannot write {}", log.display()))?;
        match outcome {
            Ok(verdict) => return Ok(verdict),
            Err(reason) if attempt < ATTEMPTS && !text.contains(STARTED) => {
                ui::step(format_args!(
                    "{reason}, before the first program ran: trying again"
                ));
            }
            Err(reason) => bail!("{reason} (console: {})", log.display()),
        }
        attempt += 1;
    }
}

/// What one boot gave.
struct Console {
    text: String,
    outcome: Result<String, String>,
}

fn boot_once(image: &Path, initramfs: &Path, deadline: Duration) -> Result<Console> {
    let begun = Instant::now();
    let mut command = command(image, initramfs);
    ui::step("$ qemu-system-x86_64 ...");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut machine = Machine(child.context("cannot start qemu-system-x86_64")?);
    let console = machine.0.stdout.take().context("no console")?;

    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(line).is_err() {
                break;
            }
        }
    });

    let mut seen = String::new();
    let mut verdict = None;
    let outcome = loop {
        let left = deadline.saturating_sub(begun.elapsed());
        match receiver.recv_timeout(left) {
            Ok(line) => {
                ui::step(format_args!(
                    "{:6.1} s  {line}",
                    begun.elapsed().as_secs_f32()
                ));
                seen += &line;
                seen.push('\n');
                if is_broken(&line) {
                    break Err(format!("the kernel broke: {line}"));
                }
                if let Some(text) = line.strip_prefix(VERDICT) {
                    verdict = Some(text.to_owned());
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                break Err(format!("no end within {} s", deadline.as_secs()));
            }
            Err(RecvTimeoutError::Disconnected) => {
                break verdict.ok_or_else(|| "it stopped without a verdict".to_owned());
            }
        }
    };
    Ok(Console {
        text: seen,
        outcome,
    })
}

fn is_broken(line: &str) -> bool {
    BROKEN.iter().any(|marker| line.contains(marker))
        && !HARMLESS.iter().any(|marker| line.contains(marker))
}

fn command(image: &Path, initramfs: &Path) -> Command {
    let qemu = shell::find("qemu-system-x86_64").unwrap_or_else(|| "qemu-system-x86_64".into());
    let mut command = Command::new(qemu);
    command
        // Not KVM: where this runs is often a virtual machine itself, and nested ones break in odd ways. One thread for
        // both processors: with a thread each, one may still run an instruction that the other has just patched, and the
        // kernel breaks with `Oops: int3` (once in about 40 boots).
        .args([
            "-accel",
            "tcg,thread=single",
            "-machine",
            "q35",
            "-cpu",
            "max",
        ])
        .args(["-smp", "2", "-m", "2048", "-nodefaults", "-no-reboot"])
        .args(["-display", "none", "-serial", "stdio"])
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", "console=ttyS0 panic=-1 quiet"]);
    command
}

/// Killed when dropped.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // It has usually stopped by itself; then there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
