//! Runs one scene of `scene.c`, and looks at it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{LazyLock, Mutex},
    time::{Duration, Instant},
};

use holdup::explain::doing::{Doing, conclude, observe};

/// Time between two looks.
const BETWEEN: Duration = Duration::from_millis(60);
/// Time until a scene has to look as expected.
const PATIENCE: Duration = Duration::from_secs(10);

/// The compiled program.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explain_doing/scene.c");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("explain_scene");
    let status = Command::new("cc")
        .args(["-O1", "-pthread", "-o"])
        .args([&program, &source])
        .status()
        .unwrap();
    assert!(status.success());
    program
});
/// One compilation, whichever test comes first.
static COMPILED: Mutex<()> = Mutex::new(());

/// A running scene; killed with all its processes when dropped.
pub struct Scene {
    child: Child,
    output: BufReader<ChildStdout>,
    /// Process that waits.
    pub pid: u32,
    /// Process it waits for; 0 for none.
    pub other: u32,
}

impl Scene {
    /// Starts a scene.
    pub fn start(name: &str) -> Self {
        Self::start_with(&[], name, "")
    }

    /// Starts a scene that wants a path, below a fresh name.
    pub fn start_at(name: &str) -> (Self, String) {
        let path = format!(
            "{}/explain_{name}_{}",
            env!("CARGO_TARGET_TMPDIR"),
            std::process::id()
        );
        let _ = std::fs::remove_file(&path);
        (Self::start_with(&[], name, &path), path)
    }

    /// Starts a scene by way of another program (`unshare`).
    pub fn start_with(launcher: &[&str], name: &str, path: &str) -> Self {
        let program = {
            let _one = COMPILED.lock();
            PROGRAM.to_str().unwrap()
        };
        let words: Vec<&str> = launcher
            .iter()
            .copied()
            .chain([program, name, path])
            .collect();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let other = line.trim().strip_prefix("ready ").unwrap().parse().unwrap();
        Self {
            pid: child.id(),
            child,
            output,
            other,
        }
    }

    /// Sends a line, and waits for one.
    pub fn ask(&mut self) {
        let mut input = self.child.stdin.as_ref().unwrap();
        input.write_all(b"\n").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
    }

    /// Looks at its main thread until `wanted`.
    pub fn until(&self, wanted: impl Fn(&Doing) -> bool) -> Doing {
        until(self.pid, self.pid, wanted)
    }

    /// Looks at its main thread until the sentence begins so.
    pub fn says(&self, beginning: &str) -> Doing {
        says(self.pid, beginning)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).unwrap();
        // SAFETY: no pointers. The group is the child's own, which has not been waited for.
        unsafe { libc::kill(-group, libc::SIGKILL) };
        let _ = self.child.wait();
    }
}

/// Looks twice.
pub fn doing(pid: u32, tid: u32) -> Doing {
    let look = || observe(&[(pid, tid)], Instant::now() + Duration::from_secs(5)).remove(0);
    let first = look();
    std::thread::sleep(BETWEEN);
    conclude(&first, &look())
}

/// Looks at a process until the sentence begins so.
pub fn says(pid: u32, beginning: &str) -> Doing {
    until(pid, pid, |doing| doing.text.starts_with(beginning))
}

/// Looks at a thread until `wanted`.
pub fn until(pid: u32, tid: u32, wanted: impl Fn(&Doing) -> bool) -> Doing {
    let end = Instant::now() + PATIENCE;
    loop {
        let doing = doing(pid, tid);
        if wanted(&doing) {
            return doing;
        }
        assert!(Instant::now() < end, "{doing:#?}");
    }
}
