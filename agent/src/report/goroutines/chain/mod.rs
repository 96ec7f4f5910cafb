//! From goroutines that wait to what holds them up: suspects for locks, the other side of channels, the far ends of
//! descriptors, threads in system calls and back; as facts for the wait-for graph.

mod follow;
mod wanted;
mod words;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::{Duration, Instant},
};

use super::{ends::Ends, locks::Waited};
use crate::{
    explain::{
        doing::{Endpoint, Object},
        graph::{
            Facts,
            facts::{self, Block, Id, ThreadId},
        },
        net::Address,
    },
    model::explanation::{Confidence, LinkKind, Progress},
    report::{explain::lock_fact, name, reach::BETWEEN},
    runtime::{
        self,
        go::{
            Census, Record,
            ages::Ages,
            census::{Goroutine, Target},
            channel::Case,
            standard::{is_machinery, is_standard},
            status::Status,
        },
    },
};

/// Locks, and channels, whose other side is looked for in one round: those with most waiters.
const MAX_WANTED: usize = 32;
/// Steps of a chain that are followed.
const MAX_ROUNDS: usize = 6;
/// Time to look for suspects.
const TIME: Duration = Duration::from_secs(2);
/// Goroutines go by numbers that no thread has.
const GOROUTINES: u32 = 1 << 31;

/// What was found of one process.
#[derive(Debug, Default)]
pub struct Found {
    /// Facts for the graph.
    pub facts: Facts,
    /// Threads that goroutines wait on, as (process id, thread id): they lead on from there.
    pub threads: BTreeSet<(u32, u32)>,
}

/// Follows everything that goroutines of a process wait for. Fills in who holds the locks.
#[must_use]
pub fn find(census: &Census, locks: &mut [Waited], ages: &Ages, ends: &Ends) -> Found {
    let mut chain = Chain {
        census,
        ages,
        deadline: Instant::now() + TIME,
        found: Found::default(),
        followed: HashSet::new(),
        asked: HashMap::new(),
        lock_of: locks
            .iter()
            .enumerate()
            .flat_map(|(number, waited)| waited.waiters.iter().map(move |&index| (index, number)))
            .collect(),
        at_channel: at_channels(census),
    };
    let mut next: BTreeSet<usize> = chain.first(locks);
    for _ in 0..MAX_ROUNDS {
        if next.is_empty() || Instant::now() >= chain.deadline {
            break;
        }
        next = chain.round(&next, locks);
    }
    // Those of the last round are named, though they lead no further.
    chain.followed.extend(next);
    chain.name(ends);
    for waited in locks.iter() {
        chain.found.facts.locks.push(lock(waited));
    }
    chain.found
}

/// What a goroutine is called in the graph.
fn id(census: &Census, index: usize) -> ThreadId {
    ThreadId {
        pid: census.program.pid,
        tid: GOROUTINES.saturating_add(u32::try_from(index).unwrap_or(u32::MAX)),
    }
}

fn lock(waited: &Waited) -> facts::Lock {
    facts::Lock {
        goroutines: true,
        ..lock_fact(&waited.lock)
    }
}

/// Goroutines by what they wait for at channels, in a `select` or not.
fn at_channels(census: &Census) -> HashMap<Case, Vec<usize>> {
    let mut at: HashMap<Case, Vec<usize>> = HashMap::new();
    for (index, goroutine) in census.goroutines.iter().enumerate() {
        if let Target::Channels(cases) = &goroutine.target {
            for case in cases.iter() {
                at.entry(*case).or_default().push(index);
            }
        }
    }
    at
}

/// What is to be asked about.
enum Question {
    Lock(usize),
    Channel(Case),
}

/// Who is at the other side of a channel.
#[derive(Clone, Debug, Default)]
struct Others {
    goroutines: Vec<usize>,
    /// There may be others: these only have to do with what points to the channel.
    is_open: bool,
}

struct Chain<'a> {
    census: &'a Census,
    ages: &'a Ages,
    deadline: Instant,
    found: Found,
    /// Goroutines (by index) that are in the graph.
    followed: HashSet<usize>,
    /// Channels whose other side was looked for, and locks by their addresses.
    asked: HashMap<Case, Others>,
    /// Number of the lock that a goroutine waits for.
    lock_of: HashMap<usize, usize>,
    /// See [`at_channels`].
    at_channel: HashMap<Case, Vec<usize>>,
}

impl Chain<'_> {
    /// Goroutines to begin with: of each lock and each set of channels with many waiters the first one.
    fn first(&mut self, locks: &[Waited]) -> BTreeSet<usize> {
        let of_locks = locks.iter().take(MAX_WANTED);
        let mut first: BTreeSet<usize> = of_locks
            .filter_map(|waited| waited.waiters.first().copied())
            .collect();
        let mut channels: HashMap<&Target, (usize, usize)> = HashMap::new();
        for (index, goroutine) in self.census.goroutines.iter().enumerate() {
            if matches!(goroutine.target, Target::Channels(_)) {
                channels.entry(&goroutine.target).or_insert((0, index)).0 += 1;
            }
        }
        let mut channels: Vec<(usize, usize)> = channels.into_values().collect();
        channels.sort_unstable_by_key(|&(count, index)| (std::cmp::Reverse(count), index));
        first.extend(channels.iter().take(MAX_WANTED).map(|(_, index)| *index));
        first
    }

    /// Says of each goroutine in the graph what it does, and leads on to where that goes outside.
    fn name(&mut self, ends: &Ends) {
        let census = self.census;
        let named: BTreeSet<usize> = self.followed.iter().copied().collect();
        let progress = self.progress(&named);
        for &index in &named {
            let Some(goroutine) = census.goroutines.get(index) else {
                continue;
            };
            let end = ends.of(index);
            self.found.facts.threads.push(facts::Thread {
                id: id(census, index),
                goid: Some(goroutine.record.goid),
                comm: self.function(index),
                activity: words::activity(goroutine.record.status),
                text: words::of(census, goroutine, end.map(|(_, words)| words.as_str())),
                progress: progress.get(&index).copied().unwrap_or_default(),
            });
            if let Some((endpoint, _)) = end {
                self.leads_to(index, endpoint);
            }
            self.threads(index, goroutine);
        }
    }

    /// Whether goroutines move: a second look at them, nobody stopped.
    fn progress(&self, named: &BTreeSet<usize>) -> HashMap<usize, Progress> {
        if named.is_empty() {
            return HashMap::new();
        }
        let since = crate::ingest::clock::monotonic_ns().saturating_sub(self.census.at_ns);
        std::thread::sleep(BETWEEN.saturating_sub(Duration::from_nanos(since)));
        let known = named
            .iter()
            .filter_map(|&index| Some((index, &self.census.goroutines.get(index)?.record)));
        let known: Vec<_> = known.collect();
        let records: Vec<Record> = known.iter().map(|(_, record)| **record).collect();
        let again = self.census.again(&records);
        let moved = known.iter().zip(again).map(|(&(index, first), second)| {
            let progress = match second {
                Some(second) if first.status.waits() && first.is_same_wait(&second) => {
                    Progress::Stuck
                }
                // What it does on a thread, the thread tells.
                Some(second) if first.status == second.status && first.stops == second.stops => {
                    Progress::Unknown
                }
                _ => Progress::Progressing,
            };
            (index, progress)
        });
        moved.collect()
    }

    /// From a goroutine in a system call to the thread that makes it; from a thread to the goroutine that it waits for.
    fn threads(&mut self, index: usize, goroutine: &Goroutine) {
        let pid = self.census.program.pid;
        let own = Id::Thread(id(self.census, index));
        let thread = |tid| Id::Thread(ThreadId { pid, tid });
        let mut block = |tid: u32, from: Id, to: Id, text: &str| {
            self.found.threads.insert((pid, tid));
            self.found.facts.blocks.push(Block {
                from,
                to,
                kind: LinkKind::BlockedIn,
                confidence: Confidence::Exact,
                text: text.to_owned(),
                since_ns: None,
                site: None,
                any: false,
            });
        };
        if goroutine.record.status == Status::Syscall {
            if let Some(tid) = self.census.thread(goroutine) {
                block(tid, own, thread(tid), "on");
            }
        } else if let Some(tid) = self.census.locked_thread(&goroutine.record) {
            block(tid, thread(tid), own, "which runs only");
        }
    }

    /// From a goroutine to the processes at the other end of its descriptor, or to what lies outside.
    fn leads_to(&mut self, index: usize, endpoint: &Endpoint) {
        let (Object::Socket { peers, .. } | Object::Pipe { peers, .. }) = &endpoint.object else {
            return;
        };
        let pid = self.census.program.pid;
        let others = || peers.iter().filter(|peer| peer.pid != pid);
        let mut ends: Vec<Id> = others().map(|peer| Id::Process(peer.pid)).collect();
        let processes = others().map(|peer| facts::Process {
            pid: peer.pid,
            comm: peer.comm.clone(),
            ..facts::Process::default()
        });
        self.found.facts.processes.extend(processes);
        if ends.is_empty()
            && let Object::Socket {
                socket: Some(socket),
                ..
            } = &endpoint.object
            && let Some(peer @ Address::Inet(_)) = &socket.peer
        {
            ends.push(Id::Endpoint(format!("{} to {peer}", socket.protocol)));
        }
        for to in ends {
            let kind = match to {
                Id::Endpoint(_) => LinkKind::BlockedIn,
                _ => LinkKind::PeerOf,
            };
            self.found.facts.blocks.push(Block {
                from: Id::Thread(id(self.census, index)),
                to,
                kind,
                confidence: Confidence::Exact,
                text: String::new(),
                since_ns: None,
                site: None,
                any: false,
            });
        }
    }

    /// The function of the application that a goroutine is in; if it is in none, what it was made to run.
    fn function(&self, index: usize) -> String {
        let stack = self.census.goroutines.get(index);
        let stack = stack.and_then(|goroutine| self.census.stack(goroutine));
        let frames = stack.map_or(&[][..], |stack| &stack.frames);
        let names = || frames.iter().map(|(_, frame)| frame.function.as_str());
        let found = names()
            .find(|name| !is_standard(name))
            .or_else(|| names().rfind(|name| !is_machinery(name)))
            .or_else(|| names().next_back());
        found.unwrap_or_default().to_owned()
    }

    fn site(&self, index: usize) -> Option<String> {
        let stack = self.census.stack(self.census.goroutines.get(index)?)?;
        let frames = super::frames::of(&self.census.program, stack);
        runtime::application_frames(&frames)
            .first()
            .map(name::place)
    }
}
