//! A watched program and somebody who watches.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use holdup::{
    model::{
        Kind,
        watch::{Lock, ProcessKey, View},
    },
    probe::feature::Features,
    watch::{Settings, Watch},
};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One scene at a time: attaching is work for the whole machine.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("watch_scene");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/watch/scene.c");
        let status = Command::new("cc")
            .args(["-O1", "-g", "-fno-inline", "-pthread", "-o"])
            .arg(&out)
            .arg(source)
            .status()
            .expect("a C compiler");
        assert!(status.success());
        out
    })
}

/// The watched program.
pub struct Scene {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Scene {
    pub fn start() -> Self {
        let mut child = Command::new(program())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            input,
            output,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to do something, without waiting until it is done.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// What it says when it is done.
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Both.
    pub fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.hear()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Quick settings with room for the rest of the machine.
pub fn quick() -> Settings {
    Settings {
        tick: Duration::from_millis(100),
        locks: 16_384,
        threads: 32_768,
        waiters_threshold: 0,
        ..Settings::default()
    }
}

pub fn watch(settings: &Settings) -> Watch {
    settings.check().unwrap();
    Watch::start(settings, &Features::detect()).expect("privileges for BPF")
}

/// Looks until `wanted` is seen.
pub fn until<T>(watch: &mut Watch, mut wanted: impl FnMut(&View) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let view = watch.tick().unwrap();
        if let Some(found) = wanted(&view) {
            return found;
        }
        assert!(Instant::now() < deadline, "not seen: {:#?}", view.loss);
        watch.wait().unwrap();
    }
}

/// Rows of one process.
pub fn rows(view: &View, pid: u32) -> Vec<&Lock> {
    let rows = view.locks.iter().map(|lock| &**lock);
    rows.filter(|lock| lock.process.pid == pid).collect()
}

/// The row that `count` threads of a process wait in.
pub fn crowd(view: &View, pid: u32, count: u64) -> Option<Lock> {
    let mut rows = rows(view, pid).into_iter();
    rows.find(|lock| lock.waiters == count).cloned()
}

/// What a consumer adds up: the growth of every row.
#[derive(Default)]
pub struct Totals {
    last: BTreeMap<(ProcessKey, u64, Kind), u64>,
    pub woken: BTreeMap<u32, u64>,
    /// Rows that came up.
    pub rows: usize,
}

impl Totals {
    pub fn add(&mut self, view: &View) {
        let mut now = BTreeMap::new();
        for lock in &view.locks {
            let name = (lock.process, lock.address, lock.kind);
            let woken = lock.counts.as_ref().unwrap().outcomes.woken;
            let before = self.last.get(&name).copied();
            self.rows += usize::from(before.is_none());
            let grown = woken.checked_sub(before.unwrap_or(0));
            *self.woken.entry(lock.process.pid).or_default() += grown.expect("counts only grow");
            assert!(now.insert(name, woken).is_none(), "two rows of one name");
            let histogram: u64 = lock.counts.as_ref().unwrap().histogram.iter().sum();
            assert!(histogram <= lock.counts.as_ref().unwrap().waits() + 1_000);
        }
        self.last = now;
    }

    pub fn of(&self, pid: u32) -> u64 {
        self.woken.get(&pid).copied().unwrap_or_default()
    }
}
