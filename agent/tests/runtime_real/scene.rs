//! Runs a program that parks threads and says what each waits for, and asks holdup the same.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use holdup::{
    model::Frame,
    proc::memory::Process,
    runtime::{Verdict, Wait, classify, threads::Threads},
};

/// What the program itself says about one waiter.
#[derive(Clone, Debug)]
pub struct Truth {
    pub case: String,
    pub tid: u32,
    /// Address of the lock; 0 when the program cannot know it.
    pub address: u64,
    /// Thread that holds it; 0 when nobody in particular does.
    pub owner: u32,
}

/// A running program, killed when dropped.
pub struct Running {
    child: Child,
    pub pid: u32,
    pub truths: Vec<Truth>,
}

impl Running {
    /// The process that a wrapper started.
    pub fn only_child(&self) -> u32 {
        let path = format!("/proc/{0}/task/{0}/children", self.pid);
        fs::read_to_string(path).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Killing the first process of a pid namespace ends all of it; a wrapper alone would leave it behind.
        let children = format!("/proc/{0}/task/{0}/children", self.pid);
        for child in fs::read_to_string(children)
            .unwrap_or_default()
            .split_whitespace()
        {
            let _ = Command::new("kill").args(["-9", child]).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Compiles `source` (a path below `agent/tests`) and returns the program.
pub fn compile(source: &str, compiler: &str, flags: &[&str]) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    // Tests run at once, and a program that runs cannot be overwritten.
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!(
        "{}-{}-{count}",
        source.replace(['/', '.'], "_"),
        process::id()
    );
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let status = Command::new(compiler)
        .arg(tests.join(source))
        .args(flags)
        .arg("-o")
        .arg(&program)
        .status()
        .unwrap_or_else(|error| {
            panic!("{compiler} is needed (musl-gcc: package musl-tools): {error}")
        });
    assert!(status.success(), "{compiler} failed on {source}");
    program
}

/// Starts `program` and waits until all its threads are parked.
pub fn run(program: &Path) -> Running {
    start(&mut Command::new(program))
}

/// As [`run`], under another program.
pub fn run_with(wrapper: &str, arguments: &[&str], program: &Path) -> Running {
    start(Command::new(wrapper).args(arguments).arg(program))
}

fn start(command: &mut Command) -> Running {
    let program = PathBuf::from(command.get_args().last().unwrap_or(command.get_program()));
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut running = Running {
        pid: child.id(),
        child,
        truths: Vec::new(),
    };
    for line in BufReader::new(running.child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line == "ready" {
            // Nobody else starts it; the file is no longer needed.
            let _ = fs::remove_file(&program);
            return running;
        }
        running.truths.push(parse(&line));
    }
    panic!("{command:?} ended before it was ready");
}

fn parse(line: &str) -> Truth {
    let mut fields = line.split(' ');
    let case = fields.next().unwrap().to_owned();
    let mut value = |name: &str| {
        let field = fields.next().unwrap();
        field
            .strip_prefix(name)
            .unwrap()
            .strip_prefix('=')
            .unwrap()
            .to_owned()
    };
    let tid = value("tid").parse().unwrap();
    let address = match value("address").as_str() {
        "(nil)" | "0" => 0,
        text => u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap(),
    };
    let owner = value("owner").parse().unwrap();
    Truth {
        case,
        tid,
        address,
        owner,
    }
}

/// Arguments of the futex call that a thread is parked in.
pub struct Parked {
    pub address: u64,
    pub op: u32,
    pub value: u32,
    pub sp: u64,
}

/// Reads them from `/proc`, waiting until the thread is parked.
pub fn parked(pid: u32, tid: u32) -> Parked {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).unwrap();
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.first() == Some(&libc::SYS_futex.to_string().as_str()) {
            let hex = |index: usize| {
                u64::from_str_radix(fields[index].trim_start_matches("0x"), 16).unwrap()
            };
            return Parked {
                address: hex(1),
                op: hex(2) as u32,
                value: hex(3) as u32,
                sp: hex(7),
            };
        }
        assert!(
            Instant::now() < deadline,
            "thread {tid} of {pid} does not park: {text}"
        );
        sleep(Duration::from_millis(5));
    }
}

/// Frames from `module!function`; either may be empty.
pub fn frames<S: AsRef<str>>(names: &[S]) -> Vec<Frame> {
    names
        .iter()
        .map(|name| {
            let (module, function) = name.as_ref().split_once('!').unwrap();
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Frame {
                function: some(function),
                module: some(module),
                ..Frame::default()
            }
        })
        .collect()
}

/// holdup's answer for one waiter.
pub fn ask<S: AsRef<str>>(pid: u32, tid: u32, names: &[S]) -> Verdict {
    let parked = parked(pid, tid);
    let threads = Threads::of(pid);
    classify(&Wait {
        address: parked.address,
        op: parked.op,
        value: parked.value,
        sp: parked.sp,
        frames: &frames(names),
        comm: "worker",
        memory: &Process { pid },
        thread: &|tid| threads.find(tid),
        dead: &|tid| threads.find(tid).is_none(),
    })
}
