//! From goroutines that wait to what holds them up: suspects for locks, the other side of channels, the far ends of
//! descriptors, threads in system calls; as facts for the wait-for graph.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::{Duration, Instant},
};

use super::{locks::Waited, wait};
use crate::{
    explain::{
        doing::{self, Endpoint, Fd, Object, Side},
        graph::{
            Facts,
            facts::{self, Block, Hold, Id, ThreadId},
        },
        net::Address,
    },
    model::{
        Holder, Kind,
        explanation::{Confidence, LinkKind, LockRef, Progress},
    },
    report::name,
    runtime::{
        self,
        go::{
            Census,
            census::{Goroutine, Target},
            status::Status,
            suspect::{self, Suspect, Wanted},
        },
    },
};

/// Locks, and channels, whose other side is looked for in one round: those with most waiters.
const MAX_WANTED: usize = 32;
/// Steps of a chain that are followed.
const MAX_ROUNDS: usize = 6;
/// Goroutines at the other side of one channel, and those that a `WaitGroup` waits for.
const MAX_OTHERS: usize = 8;
/// Time to look for suspects, and then for the far ends of descriptors.
const TIME: Duration = Duration::from_secs(2);
const TIME_FOR_ENDS: Duration = Duration::from_secs(2);

/// Functions that those call who have to do with it.
const MUTEX: &[&str] = &["(*Mutex)."];
const ONCE: &[&str] = &["(*Once)."];
const RWMUTEX: &[&str] = &["(*RWMutex)."];
const WAIT_GROUP: &[&str] = &["(*WaitGroup).Done", "(*WaitGroup).Add"];
const FD: &[&str] = &["(*fdMutex).", "(*FD)."];
const RECEIVES: &[&str] = &[
    "runtime.chanrecv",
    "runtime.selectgo",
    "runtime.selectnbrecv",
];
const SENDS: &[&str] = &[
    "runtime.chansend",
    "runtime.closechan",
    "runtime.selectgo",
    "runtime.selectnbsend",
];

/// Follows everything that goroutines of a process wait for. Fills in who holds the locks.
#[must_use]
pub fn facts(census: &Census, locks: &mut [Waited]) -> Facts {
    let mut chain = Chain {
        census,
        deadline: Instant::now() + TIME,
        facts: Facts {
            goroutines: true,
            ..Facts::default()
        },
        followed: HashSet::new(),
        asked: HashSet::new(),
        lock_of: locks
            .iter()
            .enumerate()
            .flat_map(|(number, waited)| waited.waiters.iter().map(move |&index| (index, number)))
            .collect(),
    };
    let mut next: BTreeSet<usize> = chain.first(locks);
    for _ in 0..MAX_ROUNDS {
        if next.is_empty() || Instant::now() >= chain.deadline {
            break;
        }
        next = chain.round(&next, locks);
    }
    let named: BTreeSet<usize> = chain.followed.iter().copied().collect();
    chain.threads(&named);
    for waited in locks.iter() {
        chain.facts.locks.push(lock(waited));
    }
    chain.facts
}

/// What a goroutine is called in the graph.
fn id(census: &Census, index: usize) -> ThreadId {
    ThreadId {
        pid: census.program.pid,
        tid: u32::try_from(index).unwrap_or(u32::MAX),
    }
}

fn lock(waited: &Waited) -> facts::Lock {
    let lock = &waited.lock;
    facts::Lock {
        id: lock.name(),
        kind: lock.kind,
        name: lock
            .symbol
            .clone()
            .unwrap_or_else(|| format!("{:#x}", lock.address)),
        site: lock.site.clone(),
        waiters: lock.waiters,
        oldest_wait_ns: lock.oldest_wait_ns,
        oldest_is_at_least: lock.oldest_is_at_least,
        shared: None,
        far: false,
        abandoned: false,
        looks: None,
    }
}

/// What is to be asked about, and who asks.
enum Question {
    Lock(usize),
    Channel(u64, bool),
}

struct Chain<'a> {
    census: &'a Census,
    deadline: Instant,
    facts: Facts,
    /// Goroutines (by index) that are in the graph.
    followed: HashSet<usize>,
    /// Addresses whose other side was looked for.
    asked: HashSet<(u64, bool)>,
    /// Number of the lock that a goroutine waits for.
    lock_of: HashMap<usize, usize>,
}

impl Chain<'_> {
    /// Goroutines to begin with: of each lock and each channel with many waiters the first one.
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

    /// Looks for the other side of what these goroutines wait for; returns who that is.
    fn round(&mut self, from: &BTreeSet<usize>, locks: &mut [Waited]) -> BTreeSet<usize> {
        let mut questions = Vec::new();
        let mut wanted = Vec::new();
        for &index in from {
            self.followed.insert(index);
            let Some(goroutine) = self.census.goroutines.get(index) else {
                continue;
            };
            if let Some(&number) = self.lock_of.get(&index)
                && let Some(waited) = locks.get(number)
            {
                self.waits(index, waited);
                if self.asked.insert((waited.awaited.address, false)) {
                    questions.extend(wanted_lock(waited, locks).map(|one| {
                        wanted.push(one);
                        Question::Lock(number)
                    }));
                }
            } else if let Target::Channels(channels) = &goroutine.target {
                let sends = self.census.reason(goroutine).starts_with("chan send");
                // A goroutine in a `select` may wait for anything; only single channels are followed.
                if let ([channel], false) = (channels.as_ref(), channels.len() > 1)
                    && self.asked.insert((*channel, sends))
                {
                    wanted.push(self.wanted_channel(*channel, sends));
                    questions.push(Question::Channel(*channel, sends));
                }
            }
        }
        let found = suspect::find(self.census, &wanted, self.deadline);
        let mut next = BTreeSet::new();
        for (question, suspects) in questions.into_iter().zip(found) {
            match question {
                Question::Lock(number) => {
                    if let Some(waited) = locks.get(number) {
                        let same = waited.lock.name();
                        next.extend(self.holders(number, locks, &suspects));
                        // Readers and writers of one lock have one holder.
                        let holder = locks
                            .get(number)
                            .and_then(|waited| waited.lock.holder.clone());
                        let rows = locks.iter_mut().filter(|row| row.lock.name() == same);
                        rows.for_each(|row| row.lock.holder.clone_from(&holder));
                    }
                }
                Question::Channel(channel, sends) => {
                    next.extend(self.others(channel, sends, &suspects));
                }
            }
        }
        next.retain(|index| !self.followed.contains(index));
        next
    }

    fn waits(&mut self, index: usize, waited: &Waited) {
        self.facts.waits.push(facts::Wait {
            thread: id(self.census, index),
            lock: waited.lock.name(),
            since_ns: None,
            at_least: false,
            site: self.site(index),
            confidence: Confidence::Exact,
        });
    }

    /// Who holds a lock, or is to be waited for; the likeliest, or several for a `WaitGroup`.
    fn holders(&mut self, number: usize, locks: &mut [Waited], suspects: &[Suspect]) -> Vec<usize> {
        let Some(waited) = locks.get_mut(number) else {
            return Vec::new();
        };
        let is_group = waited.awaited.kind == Kind::Join;
        let most = if is_group { MAX_OTHERS } else { 1 };
        let chosen: Vec<&Suspect> = suspects.iter().take(most).collect();
        for suspect in &chosen {
            self.facts.holds.push(Hold {
                lock: waited.lock.name(),
                thread: id(self.census, suspect.index),
                confidence: Confidence::Inferred,
                known_by: suspect.known_by(),
                since_ns: None,
                at_least: false,
                site: None,
                any: false,
            });
        }
        if let ([suspect, ..], false) = (chosen.as_slice(), is_group)
            && let Some(goroutine) = self.census.goroutines.get(suspect.index)
        {
            waited.lock.holder = Some(Holder {
                pid: Some(self.census.program.pid),
                tid: self.census.thread(goroutine).unwrap_or(0),
                goid: Some(goroutine.record.goid),
                comm: self.function(suspect.index),
                known_by: suspect.known_by(),
                confidence: Confidence::Inferred,
                since_ns: None,
                since_is_at_least: false,
            });
        }
        chosen.iter().map(|suspect| suspect.index).collect()
    }

    /// Who is at the other side of a channel: those whose functions receive (or send).
    fn others(&mut self, channel: u64, sends: bool, suspects: &[Suspect]) -> Vec<usize> {
        let others: Vec<usize> = suspects
            .iter()
            .take(MAX_OTHERS)
            .map(|suspect| suspect.index)
            .collect();
        let stuck: Vec<usize> = self.at_channel(channel, sends);
        for &from in stuck.iter().filter(|index| self.followed.contains(index)) {
            for &to in &others {
                self.facts.blocks.push(Block {
                    from: Id::Thread(id(self.census, from)),
                    to: Id::Thread(id(self.census, to)),
                    kind: LinkKind::ProducedBy,
                    confidence: Confidence::Inferred,
                    text: match sends {
                        true => "whose receiver is".to_owned(),
                        false => "whose sender is".to_owned(),
                    },
                    since_ns: None,
                    site: None,
                    any: true,
                });
            }
        }
        others
    }

    /// Goroutines that wait on this channel alone, in this direction.
    fn at_channel(&self, channel: u64, sends: bool) -> Vec<usize> {
        let waits = |goroutine: &Goroutine| match &goroutine.target {
            Target::Channels(channels) => {
                channels.as_ref() == [channel]
                    && self.census.reason(goroutine).starts_with("chan send") == sends
            }
            _ => false,
        };
        let all = self.census.goroutines.iter().enumerate();
        all.filter(|(_, goroutine)| waits(goroutine))
            .map(|(index, _)| index)
            .collect()
    }

    fn wanted_channel(&self, channel: u64, sends: bool) -> Wanted {
        Wanted {
            address: channel,
            size: 1,
            is_embedded: false,
            calls: if sends { RECEIVES } else { SENDS },
            waiters: self.at_channel(channel, sends).into_iter().collect(),
        }
    }

    /// Says of each goroutine in the graph what it does, and leads on to where that goes outside.
    fn threads(&mut self, named: &BTreeSet<usize>) {
        let census = self.census;
        let waiting: Vec<(usize, Fd)> = named
            .iter()
            .filter_map(|&index| match census.goroutines.get(index)?.target {
                Target::Descriptor(fd, writes) => {
                    let side = if writes { Side::Out } else { Side::In };
                    Some((index, Fd { fd, side }))
                }
                _ => None,
            })
            .collect();
        let fds: Vec<Fd> = waiting.iter().map(|(_, fd)| *fd).collect();
        let ends = match fds.is_empty() {
            true => Vec::new(),
            false => {
                let deadline = Instant::now() + TIME_FOR_ENDS;
                doing::descriptors(census.program.pid, &fds, deadline)
            }
        };
        let ends: HashMap<usize, (Endpoint, String)> =
            waiting.iter().map(|(index, _)| *index).zip(ends).collect();
        for &index in named {
            let Some(goroutine) = census.goroutines.get(index) else {
                continue;
            };
            let end = ends.get(&index);
            self.facts.threads.push(facts::Thread {
                id: id(census, index),
                goid: Some(goroutine.record.goid),
                comm: self.function(index),
                activity: activity(goroutine.record.status),
                text: words(census, goroutine, end.map(|(_, words)| words.as_str())),
                progress: Progress::Unknown,
            });
            if let Some((endpoint, _)) = end {
                self.leads_to(index, endpoint);
            }
        }
    }

    /// From a goroutine to the processes at the other end of its descriptor, or to what lies outside.
    fn leads_to(&mut self, index: usize, endpoint: &Endpoint) {
        let (Object::Socket { peers, .. } | Object::Pipe { peers, .. }) = &endpoint.object else {
            return;
        };
        let pid = self.census.program.pid;
        let mut ends: Vec<Id> = peers
            .iter()
            .filter(|peer| peer.pid != pid)
            .map(|peer| Id::Process(peer.pid))
            .collect();
        self.facts
            .processes
            .extend(
                peers
                    .iter()
                    .filter(|peer| peer.pid != pid)
                    .map(|peer| facts::Process {
                        pid: peer.pid,
                        comm: peer.comm.clone(),
                        ..facts::Process::default()
                    }),
            );
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
            self.facts.blocks.push(Block {
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

    /// The function of the application that a goroutine is in.
    fn function(&self, index: usize) -> String {
        self.application(index, |frame| frame.function.clone())
            .unwrap_or_default()
    }

    fn site(&self, index: usize) -> Option<String> {
        self.application(index, |frame| Some(name::place(frame)))
    }

    fn application(
        &self,
        index: usize,
        of: impl Fn(&crate::model::Frame) -> Option<String>,
    ) -> Option<String> {
        let stack = self.census.stack(self.census.goroutines.get(index)?)?;
        let frames = super::frames::of(&self.census.program, stack);
        of(runtime::application_frames(&frames).first()?)
    }
}

/// What to look for on stacks to find who holds a lock; nothing for what nobody holds.
fn wanted_lock(waited: &Waited, locks: &[Waited]) -> Option<Wanted> {
    let calls = match (waited.awaited.kind, waited.awaited.of) {
        (Kind::Mutex, of) if of.starts_with("poll.FD") => FD,
        (Kind::Mutex, _) => MUTEX,
        (Kind::Once, _) => ONCE,
        (Kind::RwlockRead | Kind::RwlockWrite, _) => RWMUTEX,
        (Kind::Join, _) => WAIT_GROUP,
        _ => return None,
    };
    let same: LockRef = waited.lock.name();
    Some(Wanted {
        address: waited.awaited.address,
        // The mutex in a `sync.Once` has an address of its own.
        size: if waited.awaited.kind == Kind::Once {
            8
        } else {
            1
        },
        is_embedded: true,
        calls,
        waiters: locks
            .iter()
            .filter(|row| row.lock.name() == same)
            .flat_map(|row| row.waiters.iter().copied())
            .collect(),
    })
}

const fn activity(status: Status) -> facts::Activity {
    match status {
        Status::Running | Status::Runnable | Status::Preempted | Status::CopyStack => {
            facts::Activity::Runs
        }
        Status::Waiting | Status::Syscall | Status::Leaked => facts::Activity::Blocked,
        Status::Dead => facts::Activity::Dead,
        Status::Idle => facts::Activity::Unknown,
    }
}

/// What a goroutine does, as the rest of a sentence that begins with its name.
fn words(census: &Census, goroutine: &Goroutine, endpoint: Option<&str>) -> String {
    let reason = census.reason(goroutine);
    let detail = wait::describe(census, goroutine);
    match goroutine.record.status {
        Status::Waiting | Status::Leaked => match (endpoint, &goroutine.target) {
            (Some(endpoint), Target::Descriptor(_, true)) => {
                format!("waits in {reason} to write to {endpoint}")
            }
            (Some(endpoint), _) => format!("waits in {reason} to read from {endpoint}"),
            (None, _) if detail.is_empty() => format!("waits in {reason}"),
            (None, _) => format!("waits in {reason} on {detail}"),
        },
        Status::Syscall => match census.thread(goroutine) {
            Some(tid) => format!("is in a system call or in C on thread {tid}"),
            None => "is in a system call or in C".to_owned(),
        },
        Status::Running => "runs".to_owned(),
        other => format!("is {}", other.as_str()),
    }
}
