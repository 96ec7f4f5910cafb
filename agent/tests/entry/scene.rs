//! Programs that call lock functions and say how often, and recordings of them.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use holdup::{
    ingest::entry::EntryData,
    model::plan::{PlanEntry, Status},
    pipeline::{Options, Recording, Watch},
    probe::{feature::Features, object::Capacity, uprobe::asked::Probes},
};
use holdup_abi::entry::{DESTROYED, Lock};
use tokio::{runtime::Runtime, sync::mpsc};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at what is attached.
const PAUSE: Duration = Duration::from_millis(20);

/// One scene at a time: attaching is work for the whole machine.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Builds a workload, once for each way.
pub fn build(compiler: &str, source: &str, arguments: &[&str]) -> PathBuf {
    static BUILT: OnceLock<Mutex<BTreeMap<String, PathBuf>>> = OnceLock::new();
    let name = format!("{compiler}-{source}-{}", arguments.join("")).replace(['/', '='], "_");
    let built = BUILT.get_or_init(Mutex::default);
    let mut built = built.lock().unwrap_or_else(PoisonError::into_inner);
    let build = || {
        let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(&name);
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/workloads");
        let status = Command::new(compiler)
            .args(["-std=gnu11", "-O1", "-g", "-fno-inline", "-pthread", "-o"])
            .arg(&out)
            .arg(format!("{folder}/{source}"))
            .args(arguments)
            .status()
            .expect("a C compiler");
        assert!(status.success(), "{compiler} {source}");
        out
    };
    built.entry(name.clone()).or_insert_with(build).clone()
}

/// A program that plays scenes.
pub struct Program {
    child: Child,
    input: ChildStdin,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Program {
    /// Starts it; it waits for its cue.
    pub fn start(path: &PathBuf, scenes: &[&str]) -> Self {
        let mut child = Command::new(path)
            .args(scenes)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let mut program = Self {
            child,
            input,
            lines,
        };
        assert_eq!(program.lines.blocking_recv().as_deref(), Some("ready"));
        program
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Says something to it.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Has it play the next scene; what it says.
    async fn play(&mut self) -> Vec<Truth> {
        self.tell("go");
        let mut truths = Vec::new();
        loop {
            let line = self.lines.recv().await.expect("the program has ended");
            if line == "done" {
                return truths;
            }
            truths.extend(Truth::parse(&line));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program says of one lock.
#[derive(Clone, Debug)]
pub struct Truth {
    pub name: String,
    pub address: u64,
    pub values: BTreeMap<String, u64>,
}

impl Truth {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("lock ")?.split(' ');
        Some(Self {
            name: words.next()?.to_owned(),
            address: u64::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok()?,
            values: words
                .filter_map(|word| word.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
                .collect(),
        })
    }
}

/// What was recorded and what is true.
pub struct Played {
    pub data: EntryData,
    pub truths: Vec<Truth>,
    pub losses: BTreeMap<String, u64>,
    pub plan: Vec<PlanEntry>,
}

/// Options that follow lock functions of `watch`.
pub fn options(watch: Watch, probes: Probes) -> Options {
    Options {
        watch,
        capacity: Capacity {
            locks: 1024,
            threads: 1024,
            ..Capacity::default()
        },
        sample_interval: None,
        probes: Probes {
            entry: true,
            max_overhead_percent: 100,
            ..probes
        },
        tell: |_| {},
    }
}

/// A recording of one program.
pub struct Watching {
    recording: Recording,
    runtime: Runtime,
    truths: Vec<Truth>,
}

impl Watching {
    pub fn of(program: &Program, probes: Probes) -> Self {
        Self::start(Watch::Processes(vec![program.pid()]), probes)
    }

    pub fn start(watch: Watch, probes: Probes) -> Self {
        let features = Features::detect();
        Self {
            recording: Recording::start(&features, &options(watch, probes)).unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            truths: Vec::new(),
        }
    }

    /// Has `program` play its next scene.
    pub fn play(&mut self, program: &mut Program) {
        let Self {
            recording,
            runtime,
            truths,
        } = self;
        runtime.block_on(async {
            let until = async { truths.extend(program.play().await) };
            let run = recording.run(until, |_| {});
            tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
        });
    }

    /// Goes on until a probe is attached whose name in the plan has `name` in it.
    pub fn until_attached(&mut self, name: &str) {
        let is_there = |row: &PlanEntry| row.probe.contains(name) && row.status == Status::Attached;
        let started = Instant::now();
        while !self.recording.plan().iter().any(is_there) {
            assert!(started.elapsed() < PATIENCE, "{:#?}", self.recording.plan());
            self.pause();
        }
    }

    /// Goes on until no more than so many locks are known.
    pub fn until_locks(&mut self, most: usize) {
        let started = Instant::now();
        while self.recording.entry_data().unwrap().unwrap().locks.len() > most {
            assert!(started.elapsed() < PATIENCE);
            self.pause();
        }
    }

    /// Goes on for a moment; one tick of the recording comes at once.
    fn pause(&mut self) {
        let Self {
            recording, runtime, ..
        } = self;
        let wait = async { recording.run(tokio::time::sleep(PAUSE), |_| {}).await };
        runtime.block_on(wait).unwrap();
    }

    /// What the program has told so far.
    pub fn truths(&self) -> &[Truth] {
        &self.truths
    }

    pub fn finish(mut self) -> Played {
        Played {
            data: self.recording.entry_data().unwrap().unwrap(),
            truths: self.truths,
            losses: self.recording.losses().unwrap(),
            plan: self.recording.plan().to_vec(),
        }
    }
}

/// Records `program` while it plays `count` scenes.
pub fn play(program: &mut Program, count: usize, probes: Probes) -> Played {
    let mut watching = Watching::of(program, probes);
    (0..count).for_each(|_| watching.play(program));
    watching.finish()
}

impl Played {
    /// The one live lock at an address.
    pub fn lock(&self, address: u64) -> &Lock {
        self.lock_of(None, address)
    }

    /// The same, of one of several processes.
    fn lock_of(&self, pid: Option<u64>, address: u64) -> &Lock {
        let mut found = self.data.locks.values().filter(|lock| {
            lock.key.address == address
                && lock.flags & DESTROYED == 0
                && pid.is_none_or(|pid| u64::from(lock.key.tgid) == pid)
        });
        let lock = found
            .next()
            .unwrap_or_else(|| panic!("no lock at {address:#x}: {:#?}", self.plan));
        assert!(found.next().is_none(), "two locks at {address:#x}");
        lock
    }

    /// Compares every number that the program told.
    pub fn check(&self) {
        assert!(!self.truths.is_empty());
        for truth in &self.truths {
            let lock = self.lock_of(truth.values.get("pid").copied(), truth.address);
            for (name, &value) in &truth.values {
                let is = match name.as_str() {
                    "acquisitions" => lock.acquisitions,
                    "reads" => lock.reads,
                    "repeated" => lock.repeated,
                    "reacquired" => lock.reacquired,
                    "try_failures" => lock.try_failures,
                    "timeouts" => lock.timeouts,
                    "errors" => lock.errors,
                    "releases" => lock.releases,
                    "unmatched" => lock.unmatched,
                    "users" => lock.users,
                    "holds" => lock.hold_histogram.iter().sum(),
                    _ => continue,
                };
                assert_eq!(is, value, "{} {name}: {lock:#?}", truth.name);
            }
            assert_eq!(
                lock.wait_histogram.iter().sum::<u64>(),
                lock.contended,
                "{}",
                truth.name
            );
        }
    }

    /// Nothing but `expected` was lost.
    pub fn lost(&self, expected: &[(&str, u64)]) {
        for (name, &count) in self
            .losses
            .iter()
            .filter(|(name, _)| name.starts_with("entry_"))
        {
            let wanted = expected.iter().find(|(wanted, _)| wanted == name);
            assert_eq!(count, wanted.map_or(0, |(_, count)| *count), "{name}");
        }
        assert_eq!(self.losses["recursion_missed"], 0);
    }
}
