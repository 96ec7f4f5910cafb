//! The thread that watches goroutines.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    find::Finder,
    names::Names,
    process::{self, Depth, Watched},
    settings::Settings,
    shared::Shared,
};
use crate::{
    model::health::Level,
    proc::process::Proc,
    runtime::go::{Program, program::Error},
    watch::bell::Waker,
};

/// A round that took so long is followed by so many times as long without one, within the time between two looks.
const SHARE: u32 = 200;
/// How often it is tried to open a process that does not look as it should: one that has just started does not.
const TRIES: u32 = 5;
/// Time between the first two of these; it doubles.
const AGAIN: Duration = Duration::from_millis(500);

/// What is to be watched, and how closely.
#[derive(Clone, Debug)]
pub struct Job {
    /// The settings.
    pub settings: Settings,
    /// Time between two looks at who waits for what.
    pub looks: Duration,
    /// Waiters of one lock that are worth a call.
    pub call_at: u64,
    /// The level at which all of it is done.
    pub most: Level,
    /// Processes that another thread got stuck on.
    pub shunned: HashSet<u32>,
}

/// Works until it is told to end.
pub fn run(job: Job, shared: &Shared, bell: &Waker) {
    let mut worker = Worker {
        finder: Finder::new(Proc::default()),
        watched: BTreeMap::new(),
        refused: HashMap::new(),
        names: Names::default(),
        searched: None,
        job,
    };
    while let Some(level) = shared.level() {
        let began = Instant::now();
        let pause = if level == Level::Off {
            worker.forget(shared);
            worker.job.settings.search
        } else {
            worker.round(level, shared, bell);
            worker.pause(level)
        };
        shared.at(0);
        let rest = (began.elapsed() * SHARE).min(worker.job.looks);
        shared.sleep(pause.max(rest));
    }
}

struct Worker {
    job: Job,
    finder: Finder,
    watched: BTreeMap<u32, Watched>,
    /// Processes that could not be opened: tries so far, and when the next one is.
    refused: HashMap<u32, (u32, Instant)>,
    names: Names,
    searched: Option<Instant>,
}

impl Worker {
    fn depth(&self, level: Level) -> Depth {
        Depth {
            looks: self.job.looks,
            names: level <= self.job.most,
            call_at: self.job.call_at,
        }
    }

    /// Until the next round: with nobody to poll, until the next search.
    fn pause(&self, level: Level) -> Duration {
        match (self.watched.is_empty(), level) {
            (true, _) => self.job.settings.search,
            (false, level) if level <= self.job.most.max(Level::NoSamples) => {
                self.job.settings.poll
            }
            (false, _) => self.job.settings.poll.max(self.job.looks),
        }
    }

    fn round(&mut self, level: Level, shared: &Shared, bell: &Waker) {
        let is_due = |searched: Instant| searched.elapsed() >= self.job.settings.search;
        if self.searched.is_none_or(is_due) {
            self.searched = Some(Instant::now());
            self.search(shared);
            self.names.sweep();
        }
        let depth = self.depth(level);
        let mut gone = Vec::new();
        for (&pid, watched) in &mut self.watched {
            shared.at(pid);
            let turn = watched.turn(depth, &mut self.names);
            if turn.is_gone {
                gone.push(pid);
            }
            shared.tell(pid, turn.news, turn.torn);
            if turn.calls {
                shared.call();
                bell.wake();
            }
        }
        for pid in gone {
            self.lose(pid, shared);
            self.finder.again(pid);
        }
    }

    fn lose(&mut self, pid: u32, shared: &Shared) {
        self.watched.remove(&pid);
        self.refused.remove(&pid);
        self.names.forget(pid);
        shared.gone(pid);
    }

    fn search(&mut self, shared: &Shared) {
        let mut news = self.finder.search();
        let reused: Vec<u32> = self
            .watched
            .iter()
            .filter(|(_, watched)| !watched.is_same())
            .map(|(pid, _)| *pid)
            .collect();
        news.candidates.extend(&reused);
        for pid in news.gone.into_iter().chain(reused) {
            self.lose(pid, shared);
        }
        let now = Instant::now();
        let due = self.refused.iter().filter(|(_, (_, due))| now >= *due);
        news.candidates.extend(due.map(|(pid, _)| *pid));
        let most = self.job.settings.processes as usize;
        let mut left_out = 0;
        for pid in news.candidates {
            if self.watched.len() >= most {
                left_out += 1;
                self.finder.again(pid);
            } else if pid != std::process::id() && !self.job.shunned.contains(&pid) {
                self.open(pid, shared);
            }
        }
        shared.left_out(left_out);
    }

    fn open(&mut self, pid: u32, shared: &Shared) {
        shared.at(pid);
        match Program::open(pid) {
            Ok(program) => {
                let program = Arc::new(program);
                self.refused.remove(&pid);
                self.watched
                    .insert(pid, Watched::new(&program, process::describe(pid)));
                self.names.keep(&program);
            }
            Err(Error::NotGo) => {
                self.refused.remove(&pid);
                self.finder.is_other(pid);
            }
            Err(error) => {
                let tries = self.refused.get(&pid).map_or(0, |(tries, _)| *tries);
                if let Error::Unsupported { version, .. } = &error
                    && tries == TRIES
                {
                    let seen = process::unreadable(
                        process::describe(pid),
                        version.clone(),
                        error.to_string(),
                    );
                    shared.tell(pid, Some(seen), 0);
                }
                if tries >= TRIES {
                    self.refused.remove(&pid);
                } else {
                    let due = Instant::now() + AGAIN * (1 << tries);
                    self.refused.insert(pid, (tries + 1, due));
                }
            }
        }
    }

    /// While nothing may be read, nothing is known.
    fn forget(&mut self, shared: &Shared) {
        if self.searched.take().is_some() {
            for pid in std::mem::take(&mut self.watched).into_keys() {
                shared.gone(pid);
            }
            self.finder = Finder::new(Proc::default());
            self.refused.clear();
            self.names = Names::default();
        }
    }
}
