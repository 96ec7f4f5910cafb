//! Targets: the end-to-end tests' workload with one mutex, and a process that cannot be read.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

/// Threads that wait for a mutex; killed when dropped.
pub struct Target {
    child: Child,
    pub pid: u32,
    pub address: u64,
    pub holder: u32,
    pub waiters: Vec<u64>,
}

impl Target {
    /// Starts one, and waits until all of its threads are asleep.
    pub fn park(waiters: usize) -> Self {
        let mut child = Command::new(compile())
            .args(["mutex_normal", &waiters.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let pid = number(&event(&mut lines, "ready")["pid"]);
        child.stdin.as_mut().unwrap().write_all(b"g").unwrap();
        let parked = event(&mut lines, "parked");
        let address = parked["address"].as_str().unwrap();
        let tids = parked["waiters"].as_array().unwrap();
        let target = Self {
            child,
            pid,
            address: u64::from_str_radix(&address[2..], 16).unwrap(),
            holder: number(&parked["holder"]),
            waiters: tids.iter().map(|tid| tid.as_u64().unwrap()).collect(),
        };
        assert_eq!(target.waiters.len(), waiters);
        target
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn number(value: &Value) -> u32 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn event(lines: &mut BufReader<ChildStdout>, name: &str) -> Value {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["event"], name, "{line}");
    value
}

/// A process whose memory cannot be read; killed when dropped.
pub struct Hung(Child);

impl Hung {
    /// Starts one.
    pub fn start() -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/evidence/hung.c");
        let mut child = Command::new(build("evidence-hung", &source))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, "hung\n");
        Self(child)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn compile() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/workloads/primitives.c");
    let program = PROGRAM.get_or_init(|| build("evidence-primitives", &source));
    program.clone()
}

fn build(name: &str, source: &Path) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let status = Command::new("gcc")
        .args(["-O1", "-g", "-pthread", "-o"])
        .args([&program, source])
        .status()
        .unwrap();
    assert!(status.success());
    program
}
