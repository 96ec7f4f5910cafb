//! Loops that outlive their own mistakes. Each runs in a thread of its own, in turns: a turn that panics or fails costs the
//! loop its state and a rest, a turn that hangs costs it its thread, and in both cases it is made anew.

mod backoff;
pub mod fault;
mod pulse;
mod stop;
#[cfg(test)]
mod tests;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

pub(super) use self::stop::lock;
pub use self::{backoff::Backoff, pulse::Pulse, stop::Stop};
use crate::model::health::Loop;

/// Threads of one loop that may hang at the same time. With more, the loop is left dead for all to see.
const MAX_ABANDONED: u32 = 3;
/// How often it is looked whether all have ended.
const JOIN_STEP: Duration = Duration::from_millis(5);

/// What a loop does.
pub trait Body {
    /// Waits until there is something to do, or for about a second: without a turn there is no heartbeat. Returns at once
    /// when `stop` is requested.
    fn wait(&mut self, stop: &Stop);

    /// Does what there is to do.
    ///
    /// # Errors
    /// It cannot go on with the state it has.
    fn turn(&mut self, lease: &Lease) -> anyhow::Result<()>;

    /// It was asked to end: what is left to do, in the same thread.
    fn end(&mut self) {}
}

/// A thread's right to act as its loop.
#[derive(Clone, Debug)]
pub struct Lease {
    pulse: Arc<Pulse>,
    thread: u64,
}

impl Lease {
    /// Whether it still has it. A thread that hung and comes back must not publish what it has.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.pulse.is_current(self.thread)
    }
}

/// Makes a loop's body, in the loop's own thread.
pub type Make = dyn Fn() -> anyhow::Result<Box<dyn Body>> + Send + Sync;

/// A loop to be run.
#[expect(missing_debug_implementations, reason = "it is a function, mostly")]
pub struct Spec {
    /// Name; its thread is `holdup-NAME`, of which the kernel keeps 15 bytes.
    pub name: &'static str,
    /// How long a turn should take. Longer ones are counted.
    pub deadline: Duration,
    /// How long it may go without a beat before its thread is taken to hang. Making the body must fit in.
    pub patience: Duration,
    /// Ends the loop.
    pub stop: Stop,
    /// Makes its body.
    pub make: Box<Make>,
}

struct Supervised {
    spec: Spec,
    pulse: Arc<Pulse>,
    /// Threads that hang, or did so and have not ended yet.
    abandoned: AtomicU32,
}

/// Starts loops and replaces those that hang.
#[derive(Clone, Default)]
#[expect(missing_debug_implementations, reason = "see `health`")]
pub struct Supervisor(Arc<Mutex<Vec<Arc<Supervised>>>>);

impl Supervisor {
    /// Starts a loop.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(&self, spec: Spec) -> std::io::Result<()> {
        let pulse = Pulse::new(spec.name, spec.deadline, spec.patience);
        let supervised = Arc::new(Supervised {
            spec,
            pulse: Arc::new(pulse),
            abandoned: AtomicU32::new(0),
        });
        spawn(&supervised, 0)?;
        lock(&self.0).push(supervised);
        Ok(())
    }

    /// Replaces the threads that hang. To be called a few times a second.
    pub fn check(&self) {
        for supervised in self.all() {
            let pulse = &supervised.pulse;
            if !pulse.hangs() || supervised.abandoned.load(Ordering::Relaxed) >= MAX_ABANDONED {
                continue;
            }
            tracing::error!(name = pulse.name(), "a loop hangs and is replaced");
            supervised.abandoned.fetch_add(1, Ordering::Relaxed);
            let thread = pulse.abandon();
            if let Err(error) = spawn(&supervised, thread) {
                tracing::error!(name = pulse.name(), %error, "a loop cannot be replaced");
            }
        }
    }

    /// Has a loop made anew, once its turn is over: its settings have changed.
    pub fn renew(&self, name: &str) {
        for supervised in self.all() {
            if supervised.pulse.name() == name {
                supervised.pulse.renew();
            }
        }
    }

    /// How the loops are.
    #[must_use]
    pub fn health(&self) -> Vec<Loop> {
        self.all().iter().map(|one| one.pulse.health()).collect()
    }

    /// Waits until the loops of these names have ended, after their `stop` was requested. Returns whether they have.
    #[must_use]
    pub fn join(&self, names: &[&str], deadline: Instant) -> bool {
        let mut loops = self.all();
        loops.retain(|one| names.contains(&one.pulse.name()));
        while !loops.iter().all(|one| one.pulse.is_finished()) {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(JOIN_STEP);
        }
        true
    }

    fn all(&self) -> Vec<Arc<Supervised>> {
        lock(&self.0).clone()
    }
}

fn spawn(supervised: &Arc<Supervised>, thread: u64) -> std::io::Result<()> {
    let supervised = Arc::clone(supervised);
    thread::Builder::new()
        .name(format!("holdup-{}", supervised.spec.name))
        .spawn(move || run(&supervised, thread))
        .map(|_| ())
}

/// How a run of a body ended, other than by a failure.
enum End {
    /// As it was asked to.
    Stopped,
    /// It was abandoned.
    Replaced,
    /// It is to be made anew.
    Renewed,
}

fn run(supervised: &Supervised, thread: u64) {
    let Supervised {
        spec,
        pulse,
        abandoned,
    } = supervised;
    let lease = Lease {
        pulse: Arc::clone(pulse),
        thread,
    };
    let mut backoff = Backoff::default();
    loop {
        let began = Instant::now();
        // What is shared with other threads is plain values behind locks that survive a panic; all else is dropped.
        let (panicked, why) = match catch_unwind(AssertUnwindSafe(|| turns(spec, &lease))) {
            Ok(Ok(End::Stopped)) => return pulse.finish(thread),
            Ok(Ok(End::Replaced)) => {
                abandoned.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            Ok(Ok(End::Renewed)) => continue,
            Ok(Err(error)) => (false, format!("{error:#}")),
            Err(panic) => (true, message(&*panic)),
        };
        pulse.fail(thread, panicked);
        let rest = backoff.failed(began.elapsed());
        tracing::error!(name = spec.name, panicked, why, ?rest, "a loop has failed");
        if spec.stop.wait(rest) {
            return pulse.finish(thread);
        }
        pulse.restart(thread);
    }
}

fn turns(spec: &Spec, lease: &Lease) -> anyhow::Result<End> {
    let Lease { pulse, thread } = lease;
    let mut body = (spec.make)()?;
    loop {
        body.wait(&spec.stop);
        if !lease.is_valid() {
            return Ok(End::Replaced);
        }
        if pulse.take_renewal() {
            return Ok(End::Renewed);
        }
        if spec.stop.is_requested() {
            body.end();
            return Ok(End::Stopped);
        }
        pulse.begin(*thread);
        fault::strike(spec.name, &spec.stop);
        body.turn(lease)?;
        pulse.end(*thread);
    }
}

/// What a panic said.
fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}
