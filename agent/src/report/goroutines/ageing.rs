//! Looks at goroutines while a recording goes on, so that at its end it is known since when they wait.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use crate::{
    runtime::go::{Census, Program, ages::Ages, census::Options},
    symbol::Space,
};

/// Time between two looks: what a goroutine of moderate speed does in it does not look like nothing, see [`Ages`].
const BETWEEN: Duration = Duration::from_secs(10);
/// The longer a look takes, the rarer it is: one part in so many of a CPU.
const SHARE: u32 = 50;
/// Time for a look at one process.
const TIME: Duration = Duration::from_secs(5);

/// Looks now and then at the goroutines of processes that are written in Go.
#[derive(Debug)]
pub struct Ageing {
    /// Dropped to end it.
    stop: mpsc::Sender<()>,
    thread: JoinHandle<HashMap<Space, Ages>>,
}

impl Ageing {
    /// Begins with a first look, in a thread of its own; `None` when there is none to be had. `ages` are those of looks
    /// before.
    #[must_use]
    pub fn start(spaces: Vec<Space>, ages: HashMap<Space, Ages>) -> Option<Self> {
        let (stop, stopped) = mpsc::channel();
        let run = move || run(&spaces, ages, &stopped);
        let thread = std::thread::Builder::new().name("ages".to_owned());
        let thread = thread.spawn(run).ok()?;
        Some(Self { stop, thread })
    }

    /// Ends it, and tells what was noted.
    #[must_use]
    pub fn finish(self) -> HashMap<Space, Ages> {
        drop(self.stop);
        self.thread.join().unwrap_or_default()
    }
}

fn run(
    spaces: &[Space],
    mut ages: HashMap<Space, Ages>,
    stopped: &mpsc::Receiver<()>,
) -> HashMap<Space, Ages> {
    let programs = spaces
        .iter()
        .filter_map(|space| Some((*space, Arc::new(Program::open(space.pid).ok()?))));
    let programs: Vec<_> = programs.collect();
    loop {
        let mut took = Duration::ZERO;
        for (space, program) in &programs {
            // Records alone say who waits, and at what place.
            let options = Options {
                stacks: 1,
                time: TIME,
            };
            if let Ok(census) = Census::take(Arc::clone(program), options) {
                ages.entry(*space).or_default().note(&census);
                took += census.took;
            }
        }
        let nap = BETWEEN.max(took * SHARE);
        if programs.is_empty() || stopped.recv_timeout(nap) != Err(mpsc::RecvTimeoutError::Timeout)
        {
            return ages;
        }
    }
}
