//! All goroutines of a process at about one moment. Nobody is stopped, so that they go on under our eyes: each record is
//! read again after the stack it leads to, and what has changed is counted as torn and believed no further.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use super::{
    channel::{Case, Channel, Channels},
    check,
    goroutine::{self, Record},
    operation::{self, Operation},
    pages::Pages,
    parked::{self, Conds},
    pclntab::Named,
    program::{Error, Program},
    sema,
    stack::Unwinder,
    status::Status,
};
use crate::{
    explain::doing::Fd,
    proc::memory::{Memory, Piece, Process},
};

/// Most goroutines that are counted.
const MAX_GOROUTINES: u64 = 16 << 20;
/// Goroutines whose stacks are read at once.
const BATCH: usize = 4096;
/// Bytes of each stack that are read at once: enough for ten frames or so.
const TOP: u64 = 1024;
/// Goroutines in `IO wait` whose descriptor is looked for, and those at a condition variable.
const MAX_SEARCHED: u64 = 16_384;
/// What goroutines of the runtime's own begin with, and the two that are not.
const SYSTEM: &str = "runtime.";
const USERS: [&str; 3] = [
    "runtime.main",
    "runtime.handleAsyncEvent",
    "runtime.corostart",
];

/// Bounds of a census.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Most goroutines whose stacks are read; beyond it they are sampled evenly, and counted all the same.
    pub stacks: usize,
    /// Time that all of it may take.
    pub time: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            stacks: 500_000,
            time: Duration::from_secs(20),
        }
    }
}

/// What a goroutine waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// Nothing, or it is not known.
    #[default]
    Unknown,
    /// A semaphore, by its address: see [`Operation`] for the lock that it is part of.
    Semaphore(u64),
    /// To send to channels or to receive from them; several in a `select`.
    Channels(Box<[Case]>),
    /// A condition variable.
    Cond(u64),
    /// A descriptor, and whether to write to it.
    Descriptor(i32, bool),
}

/// A goroutine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goroutine {
    /// Its record.
    pub record: Record,
    /// Index of its stack in [`Census::stacks`]; none when it runs, or was not sampled, or was torn.
    pub stack: Option<usize>,
    /// What it waits for.
    pub target: Target,
}

/// A stack that goroutines have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Addresses to look up, and the names there, both innermost first; wrappers are left out as Go does.
    pub frames: Vec<(u64, Named)>,
    /// What one wants who waits for a semaphore here, by wait reason.
    pub operation: Operation,
}

/// All goroutines, but for the runtime's own.
#[derive(Debug)]
pub struct Census {
    /// The process.
    pub program: Arc<Program>,
    /// The goroutines.
    pub goroutines: Vec<Goroutine>,
    /// Their stacks.
    pub stacks: Vec<Stack>,
    /// Channels that somebody waits for.
    pub channels: HashMap<u64, Channel>,
    /// Goroutines that changed while they were read, and records that made no sense.
    pub torn: u64,
    /// Goroutines whose stacks were left out: beyond the bounds, or out of time.
    pub left_out: u64,
    /// When it began, on the monotonic clock in nanoseconds.
    pub at_ns: u64,
    /// How long it took.
    pub took: Duration,
}

impl Census {
    /// Takes a census. Reading takes locks of the target's, which it may keep for long: a thread of our own does it, and
    /// is left behind when it does not come back.
    ///
    /// # Cost
    /// Up to 5 us for each goroutine.
    ///
    /// # Errors
    /// The process is gone, or cannot be read in time.
    pub fn take(program: Arc<Program>, options: Options) -> Result<Self, Error> {
        let (sender, receiver) = mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("goroutines".to_owned())
            .spawn(move || {
                // Nobody listens any more when time was over.
                let _ = sender.send(take(program, options));
            })?;
        // It ends by itself at its deadline, unless it is stuck.
        let patience = options.time + options.time / 2;
        receiver
            .recv_timeout(patience)
            .map_err(|_| Error::TimedOut)?
    }

    /// The words of what a goroutine waits for; empty when it does not.
    #[must_use]
    pub fn reason(&self, goroutine: &Goroutine) -> &str {
        reason(&self.program, &goroutine.record)
    }

    /// The stack of a goroutine.
    #[must_use]
    pub fn stack(&self, goroutine: &Goroutine) -> Option<&Stack> {
        self.stacks.get(goroutine.stack?)
    }

    /// How many goroutines there are by status, in Go's words.
    #[must_use]
    pub fn by_status(&self) -> BTreeMap<String, u64> {
        count(self.goroutines.iter().map(|g| g.record.status.as_str()))
    }

    /// How many wait by reason, in the words of the target's release.
    #[must_use]
    pub fn by_reason(&self) -> BTreeMap<String, u64> {
        let waiting = self.goroutines.iter().filter(|g| g.record.status.waits());
        count(waiting.map(|goroutine| self.reason(goroutine)))
    }
}

fn count<'a>(words: impl Iterator<Item = &'a str>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for word in words {
        match counts.get_mut(word) {
            Some(count) => *count += 1,
            None => {
                counts.insert(word.to_owned(), 1);
            }
        }
    }
    counts
}

fn reason<'a>(program: &'a Program, record: &Record) -> &'a str {
    let words = program.globals.reasons.get(usize::from(record.reason));
    match words {
        Some(words) if record.status.waits() => words,
        _ => "",
    }
}

fn take(program: Arc<Program>, options: Options) -> Result<Census, Error> {
    let began = Instant::now();
    let at_ns = crate::ingest::clock::monotonic_ns();
    let deadline = began + options.time;
    let memory = Process { pid: program.pid };
    let mut taker = Taker {
        program: &program,
        memory: &memory,
        deadline,
        torn: 0,
        left_out: 0,
        goroutines: Vec::new(),
    };
    taker.records()?;
    let semaphores = sema::walk(&memory, &program.layout, program.globals.semtable, deadline);
    taker.torn += semaphores.torn;
    let channels = taker.targets(&semaphores.by_goroutine);
    let stacks = taker.stacks(options.stacks);
    let Taker {
        torn,
        left_out,
        goroutines,
        ..
    } = taker;
    Ok(Census {
        goroutines,
        stacks,
        channels,
        torn,
        left_out,
        at_ns,
        took: began.elapsed(),
        program,
    })
}

/// A census under way.
struct Taker<'a> {
    program: &'a Program,
    memory: &'a Process,
    deadline: Instant,
    torn: u64,
    left_out: u64,
    goroutines: Vec<Goroutine>,
}

impl Taker<'_> {
    /// Reads all records, and keeps those of the program's own goroutines.
    fn records(&mut self) -> Result<(), Error> {
        let gone = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let all = check::addresses(self.memory, self.program.globals.allgs, MAX_GOROUTINES);
        let mut system: HashMap<u64, bool> = HashMap::new();
        for addresses in all.ok_or_else(gone)?.chunks(BATCH) {
            if Instant::now() >= self.deadline {
                return Err(Error::TimedOut);
            }
            for record in goroutine::read(self.memory, addresses, &self.program.layout) {
                let Some(record) = record else {
                    self.torn += 1;
                    continue;
                };
                let is_system = system
                    .entry(record.startpc)
                    .or_insert_with(|| is_system(self.program, record.startpc));
                if record.status != Status::Dead && record.goid != 0 && !*is_system {
                    self.goroutines.push(Goroutine {
                        record,
                        stack: None,
                        target: Target::Unknown,
                    });
                }
            }
        }
        Ok(())
    }

    /// Finds the semaphores and channels that goroutines wait for; reads the channels.
    fn targets(&mut self, semaphores: &HashMap<u64, u64>) -> HashMap<u64, Channel> {
        let layout = &self.program.layout;
        let mut pages = Pages::new(self.memory);
        let mut channels = Channels::default();
        for goroutine in &mut self.goroutines {
            let record = goroutine.record;
            if !record.status.waits() {
                continue;
            }
            let reason = reason(self.program, &record);
            let on_channel = reason.starts_with("chan ") || reason.starts_with("select");
            if let Some(semaphore) = semaphores.get(&record.address).filter(|_| !on_channel) {
                goroutine.target = Target::Semaphore(*semaphore);
            } else if on_channel && record.waiting != 0 {
                let awaited = channels.awaited(&mut pages, layout, record.address, record.waiting);
                if !awaited.is_empty() {
                    goroutine.target = Target::Channels(awaited.into());
                }
            }
            if Instant::now() >= self.deadline {
                break;
            }
        }
        channels.into_known()
    }

    /// Reads and unwinds stacks; returns the distinct ones.
    fn stacks(&mut self, most: usize) -> Vec<Stack> {
        let chosen: Vec<usize> = self
            .goroutines
            .iter()
            .enumerate()
            .filter(|(_, goroutine)| goroutine.record.status.has_stack())
            .map(|(index, _)| index)
            .collect();
        let every = chosen.len().div_ceil(most.max(1)).max(1);
        let sampled: Vec<usize> = chosen.iter().copied().step_by(every).collect();
        self.left_out += (chosen.len() - sampled.len()) as u64;
        let mut unwinder = Unwinder::default();
        let mut searcher = Searcher {
            pages: Pages::new(self.memory),
            conds: Conds::default(),
            searched: 0,
        };
        let mut indices: HashMap<(Vec<u64>, u8), usize> = HashMap::new();
        let mut buffer = vec![0; BATCH * usize::try_from(TOP).unwrap_or(0)];
        for (done, batch) in sampled.chunks(BATCH).enumerate() {
            if Instant::now() >= self.deadline {
                self.left_out += (sampled.len() - done * BATCH) as u64;
                break;
            }
            let records: Vec<Record> = batch
                .iter()
                .filter_map(|index| Some(self.goroutines.get(*index)?.record))
                .collect();
            let mut pieces = tops(&records, &mut buffer);
            self.memory.read_many(&mut pieces);
            let addresses: Vec<u64> = records.iter().map(|record| record.address).collect();
            let again = goroutine::read(self.memory, &addresses, &self.program.layout);
            for (((index, record), again), piece) in
                batch.iter().zip(&records).zip(again).zip(&pieces)
            {
                let steady = again.is_some_and(|again| record.rests_as(&again));
                if !steady || !piece.is_read || !record.is_whole() {
                    self.torn += 1;
                    continue;
                }
                let top = &*piece.bytes;
                let addresses = unwinder.walk(&self.program.table, self.memory, record, top);
                // It did not change, and still makes no sense: rather nothing than something wrong.
                if addresses.is_empty() {
                    self.torn += 1;
                    continue;
                }
                let Some(goroutine) = self.goroutines.get_mut(*index) else {
                    continue;
                };
                searcher.search(self.program, goroutine, top);
                let next = indices.len();
                let index = *indices.entry((addresses, record.reason)).or_insert(next);
                goroutine.stack = Some(index);
            }
        }
        // What those wait for whose stacks were left out is known by others.
        for goroutine in &mut self.goroutines {
            if goroutine.stack.is_none() && on_cond(self.program, &goroutine.record) {
                let cond = searcher.conds.of(goroutine.record.address);
                goroutine.target = cond.map_or(Target::Unknown, Target::Cond);
            }
        }
        let mut stacks: Vec<_> = indices.into_iter().collect();
        stacks.sort_unstable_by_key(|(_, index)| *index);
        stacks
            .into_iter()
            .map(|((addresses, reason), _)| {
                Stack::of(self.program, self.memory, &addresses, reason)
            })
            .collect()
    }
}

impl Stack {
    /// Names the addresses of a stack whose owner waits for this reason.
    #[must_use]
    pub fn of(program: &Program, memory: &Process, addresses: &[u64], reason: u8) -> Self {
        let table = &program.table;
        let frames: Vec<(u64, Named)> = addresses
            .iter()
            .filter_map(|address| Some((*address, table.find(*address)?)))
            .flat_map(|(address, function)| {
                let frames = table.frames(function, address, memory);
                frames.into_iter().map(move |frame| (address, frame))
            })
            .filter(|(_, frame)| !frame.is_wrapper)
            .collect();
        let names: Vec<Named> = frames
            .iter()
            .take(16)
            .map(|(_, frame)| frame.clone())
            .collect();
        let reasons = &program.globals.reasons;
        let reason = reasons.get(usize::from(reason)).map_or("", String::as_str);
        Self {
            operation: operation::of(&names, reason),
            frames,
        }
    }
}

/// The innermost part of each stack, to be read.
fn tops<'b>(records: &[Record], buffer: &'b mut [u8]) -> Vec<Piece<'b>> {
    buffer
        .chunks_mut(usize::try_from(TOP).unwrap_or(1))
        .zip(records)
        .map(|(bytes, record)| {
            let used = record.stack_hi.saturating_sub(record.sp).min(TOP);
            let used = if record.is_whole() { used } else { 0 };
            let length = usize::try_from(used).unwrap_or(0);
            Piece {
                address: record.sp,
                bytes: bytes.get_mut(..length).unwrap_or_default(),
                is_read: false,
            }
        })
        .collect()
}

/// Looks on stacks for what goroutines wait for.
struct Searcher<'a> {
    pages: Pages<'a>,
    conds: Conds,
    searched: u64,
}

impl Searcher<'_> {
    fn search(&mut self, program: &Program, goroutine: &mut Goroutine, top: &[u8]) {
        let record = goroutine.record;
        let on_cond = on_cond(program, &record);
        let is_found = on_cond && self.conds.of(record.address).is_some();
        if (!on_cond && reason(program, &record) != "IO wait")
            || (self.searched >= MAX_SEARCHED && !is_found)
        {
            return;
        }
        self.searched += u64::from(!is_found);
        let layout = &program.layout;
        let found = if on_cond {
            self.conds
                .find(&mut self.pages, layout, &record, top)
                .map(Target::Cond)
        } else {
            parked::descriptor(&mut self.pages, layout, &record, top).map(|Fd { fd, side }| {
                Target::Descriptor(fd, side == crate::explain::doing::Side::Out)
            })
        };
        goroutine.target = found.unwrap_or_default();
    }
}

fn on_cond(program: &Program, record: &Record) -> bool {
    reason(program, record) == "sync.Cond.Wait"
}

/// Whether a goroutine that began there is the runtime's own: `runtime.NumGoroutine` does not count it.
pub(super) fn is_system(program: &Program, startpc: u64) -> bool {
    let function = program.table.find(startpc);
    let name = function.and_then(|function| program.table.name(function));
    name.is_some_and(|name| name.starts_with(SYSTEM) && !USERS.contains(&name.as_str()))
}
