//! Beyond the processes that are watched: a chain that leads to another one goes on there. The process at the other end
//! of a pipe or a socket, and the one whose thread holds a shared lock, are looked at like watched ones: their threads,
//! what those wait for, and who holds that.
//!
//! All of it comes from `/proc` and from memory: nothing is attached, nobody is stopped. It ends at the bounds below;
//! what lies beyond them is counted (`chains_cut`), and shown as not looked at.
//!
//! A chain across processes is put together from what was seen at different moments, so it is looked at once more as a
//! whole: see [`confirm`].

pub mod beyond;
pub mod census;
pub mod confirm;
pub mod place;
pub mod prune;
pub mod reader;
pub mod sharers;
pub mod stand;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::{Duration, Instant},
};

use self::{
    census::{Census, Still},
    confirm::Stale,
    stand::Stand,
};
use super::{
    engine::Engine,
    lock::{Assembled, Wait},
};
use crate::{
    explain::{
        doing::{self, Doing, Endpoint, Lead, Relation},
        graph::facts::{Id, ThreadId},
    },
    model::explanation::{Confidence, LockRef},
};

/// Processes looked at beyond the holders' own.
const MAX_PROCESSES: usize = 16;
/// Their threads, in all.
const MAX_THREADS: usize = 4096;
/// Holders and other single threads looked at, in all.
const MAX_LOOKED: usize = 512;
/// Steps from process to process.
const MAX_STEPS: usize = 4;
/// Our own time on a CPU: what it may cost the machine.
const MAX_CPU: Duration = Duration::from_secs(1);
/// Time on the clock, for a machine on which we hardly get a CPU: what it may cost the user.
const MAX_WALL: Duration = Duration::from_secs(5);
/// Time between the two looks at a thread: what did not move in it is called stuck.
pub const BETWEEN: Duration = Duration::from_millis(50);
/// Time for each look; what is not looked at by then is left out. Some milliseconds are usual: this is for machines on
/// which we hardly get a CPU, for a root that is not found is an answer missed.
const LOOK: Duration = Duration::from_secs(1);

/// Where one step from a thread to another process leads.
#[derive(Clone, Debug)]
pub struct End {
    /// To whom.
    pub to: Id,
    /// What it is to the thread.
    pub relation: Relation,
    /// How well that is known.
    pub confidence: Confidence,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Reached {
    /// What threads do: holders, and those that stand for the processes at the other ends.
    pub doings: Vec<Doing>,
    /// Locks and waits of processes that are not watched.
    pub far: Assembled,
    /// What turned out not to hold any more.
    pub stale: Stale,
    /// By the thread that waits for it and by the process that it leads to: who stands for that.
    stands: BTreeMap<((u32, u32), u32), Stand>,
    /// Descriptors through which a thread was reached: what it waits for there is whoever waits for it.
    came_by: HashMap<(u32, u32), HashSet<i32>>,
    /// Processes that were not looked at, within the bounds, with their names.
    pub cut: BTreeMap<u32, String>,
}

impl Reached {
    /// What a thread waits for.
    #[must_use]
    pub fn wait<'a>(&'a self, near: &'a Assembled, tid: u32) -> Option<&'a Wait> {
        near.threads
            .get(&tid)
            .or_else(|| self.far.threads.get(&tid))
    }

    /// The other processes that a thread leads to, and who stands for each.
    #[must_use]
    pub fn ends(&self, doing: &Doing) -> Vec<End> {
        let from = (doing.pid, doing.tid);
        let mut ends: BTreeMap<u32, Relation> = BTreeMap::new();
        for lead in self.leads(doing) {
            ends.entry(lead.peer.pid).or_insert(lead.relation);
        }
        ends.into_iter()
            .map(|(pid, relation)| {
                let stand = self.stands.get(&(from, pid));
                let (tid, confidence) = match stand.filter(|_| !self.cut.contains_key(&pid)) {
                    Some(Stand::Thread { tid, confidence }) => (Some(*tid), *confidence),
                    // Of a server's many threads the first one tells nothing.
                    Some(Stand::Process { is_alone })
                        if (*is_alone || relation != Relation::Server)
                            && self.leads_on(pid, *is_alone) =>
                    {
                        (Some(pid), stand::guess(*is_alone))
                    }
                    // Seen in the tables of the kernel, but that the process will answer is a guess.
                    Some(Stand::Process { .. }) | None => (None, Confidence::Observed),
                };
                let to = tid.map_or(Id::Process(pid), |tid| Id::Thread(ThreadId { pid, tid }));
                End {
                    to,
                    relation,
                    confidence,
                }
            })
            .collect()
    }

    /// Whether the first thread of a process is known to wait for something further on.
    fn leads_on(&self, pid: u32, is_alone: bool) -> bool {
        let from = ((pid, pid), 0)..=((pid, pid), u32::MAX);
        let first = || {
            self.doings
                .iter()
                .find(|doing| (doing.pid, doing.tid) == (pid, pid))
        };
        self.stands.range(from).next().is_some()
            || (is_alone && first().is_some_and(|doing| super::explain::leads_outside(self, doing)))
    }

    /// What a thread waits on, as far as that leads on: the descriptors of a set in its place.
    pub fn endpoints<'a>(&'a self, doing: &'a Doing) -> impl Iterator<Item = &'a Endpoint> {
        let was_reached = self.came_by.contains_key(&(doing.pid, doing.tid));
        let endpoints = doing.endpoints.iter();
        endpoints
            .filter(move |endpoint| !(was_reached && endpoint.is_set()))
            .flat_map(Endpoint::parts)
    }

    /// Whether it may be this program that a thread waits for, e.g. since it has started us: then nobody keeps it.
    #[must_use]
    pub fn leads_to_us(doing: &Doing) -> bool {
        doing.leads().any(|lead| is_ours(lead.peer.pid))
    }

    fn leads<'a>(&'a self, doing: &'a Doing) -> impl Iterator<Item = Lead<'a>> {
        let back = self.came_by.get(&(doing.pid, doing.tid));
        let is_back = move |fd: &i32| back.is_some_and(|back| back.contains(fd));
        doing
            .leads()
            // A thread at the other end that waits on a set of descriptors waits for requests from anybody.
            .filter(move |lead| !(lead.in_set && back.is_some()))
            .filter(move |lead| !lead.fd.as_ref().is_some_and(is_back))
            .filter(|lead| !is_ours(lead.peer.pid))
    }
}

/// Whether a process is this program, or one that it has started and that is no other program yet: never part of a
/// chain.
fn is_ours(pid: u32) -> bool {
    let own = std::process::id();
    if pid == own {
        return true;
    }
    let status = std::fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    let exe = |pid: &str| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    parent.is_some_and(|parent| parent.trim() == own.to_string())
        && exe("self").is_some()
        && exe("self") == exe(&pid.to_string())
}

/// Since when the sleeping threads of the machine have slept, on the monotonic clock in nanoseconds, by thread id.
pub type Asleep<'a> = dyn FnMut() -> HashMap<u32, u64> + 'a;

/// Looks at the threads in `holders`, and follows from there to wherever their chains lead. `asleep` is asked when they
/// lead to processes that are not watched.
#[must_use]
pub fn reach(
    near: &Assembled,
    holders: BTreeSet<(u32, u32)>,
    asleep: &mut Asleep<'_>,
    engine: &mut Engine,
) -> Reached {
    let locks = near.locks.iter().map(|lock| lock.pid);
    let waits = near.threads.values().map(|wait| wait.pid);
    let mut walk = Walk {
        near,
        near_pids: locks.chain(waits).collect(),
        asleep,
        bounds: Bounds::new(engine.deadline),
        engine,
        visited: HashMap::new(),
        looked: HashSet::new(),
        reached: Reached::default(),
    };
    walk.run(holders);
    walk.finish()
}

struct Bounds {
    deadline: Instant,
    began_cpu: Duration,
    threads: usize,
}

impl Bounds {
    fn new(deadline: Option<Instant>) -> Self {
        let own = Instant::now() + MAX_WALL;
        Self {
            deadline: deadline.map_or(own, |deadline| deadline.min(own)),
            began_cpu: cpu_time(),
            threads: MAX_THREADS,
        }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline || cpu_time().saturating_sub(self.began_cpu) >= MAX_CPU
    }
}

/// Time that this thread has spent on a CPU.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is writable during the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

struct Walk<'a> {
    near: &'a Assembled,
    near_pids: HashSet<u32>,
    asleep: &'a mut Asleep<'a>,
    engine: &'a mut Engine,
    bounds: Bounds,
    visited: HashMap<u32, Vec<Still>>,
    looked: HashSet<(u32, u32)>,
    reached: Reached,
}

impl Walk<'_> {
    fn run(&mut self, holders: BTreeSet<(u32, u32)>) {
        let mut wanted = holders;
        for step in 0..=MAX_STEPS {
            if wanted.is_empty() {
                return;
            }
            // The holders themselves are looked at in any case.
            if step > 0 && self.bounds.is_over() {
                break;
            }
            let pids = wanted.iter().map(|&(pid, _)| pid);
            let far = pids.filter(|pid| !self.near_pids.contains(pid)).collect();
            self.visit(far);
            let mut next = BTreeSet::new();
            let fresh = self.with_holders(wanted, &mut next);
            let doings = look_at(&fresh);
            let ends = self.ends(&doings);
            self.reached.doings.extend(doings);
            next.extend(ends);
            next.retain(|thread| !self.looked.contains(thread));
            wanted = next;
        }
        for (pid, _) in wanted {
            self.cut(pid);
        }
    }

    /// Threads with the holders of what they wait for, and so on. Holders in processes that are not known yet are left
    /// for the next step.
    fn with_holders(
        &mut self,
        wanted: BTreeSet<(u32, u32)>,
        next: &mut BTreeSet<(u32, u32)>,
    ) -> BTreeSet<(u32, u32)> {
        let far = &self.reached.far;
        let held = far.locks.iter().filter_map(|lock| {
            let holder = lock.holder.as_ref()?;
            let pid = holder.pid.unwrap_or(lock.pid);
            Some((lock.name(), (pid, holder.tid)))
        });
        let holders: HashMap<LockRef, (u32, u32)> = held.collect();
        let mut fresh = BTreeSet::new();
        let mut left: Vec<(u32, u32)> = wanted.into_iter().collect();
        while let Some(thread) = left.pop() {
            let (pid, tid) = thread;
            if self.looked.contains(&thread) || is_ours(pid) {
                continue;
            }
            if self.looked.len() >= MAX_LOOKED {
                self.engine.chains_cut += 1;
                continue;
            }
            let is_known = self.near_pids.contains(&pid)
                || self.visited.contains_key(&pid)
                || self.reached.cut.contains_key(&pid);
            if !is_known {
                next.insert(thread);
                continue;
            }
            self.looked.insert(thread);
            fresh.insert(thread);
            let wait = self.reached.far.threads.get(&tid);
            let lock = wait.map(|wait| LockRef {
                pid: wait.pid,
                address: wait.address,
            });
            left.extend(lock.and_then(|lock| holders.get(&lock)));
        }
        fresh
    }

    /// The processes that these threads lead to: looks at them, and returns who stands for each.
    fn ends(&mut self, doings: &[Doing]) -> BTreeSet<(u32, u32)> {
        let mut leads = Vec::new();
        for doing in doings {
            // What a thread that waits for a lock sleeps in is that lock.
            if self.reached.wait(self.near, doing.tid).is_none() {
                let from = (doing.pid, doing.tid);
                let peers = self.reached.leads(doing);
                leads.extend(peers.map(|lead| (from, lead.peer.pid, lead.peer.fd, lead.relation)));
            }
        }
        self.visit(leads.iter().map(|&(_, pid, ..)| pid).collect());
        let mut next = BTreeSet::new();
        for (from, pid, fd, relation) in leads {
            let Some(threads) = self.visited.get(&pid) else {
                continue;
            };
            let waits = if self.near_pids.contains(&pid) {
                &self.near.threads
            } else {
                &self.reached.far.threads
            };
            // A thread that waits for requests is the one of a server that has nothing to do with this one.
            let at_work = fd.filter(|_| relation != Relation::Server);
            let stand = stand::of(pid, at_work, threads, waits);
            let tid = match stand {
                Stand::Thread { tid, .. } => tid,
                Stand::Process { .. } => pid,
            };
            self.reached.stands.entry((from, pid)).or_insert(stand);
            let came_by = self.reached.came_by.entry((pid, tid)).or_default();
            came_by.extend(fd);
            next.insert((pid, tid));
        }
        next
    }

    /// Looks at processes, as far as the bounds allow.
    fn visit(&mut self, pids: BTreeSet<u32>) {
        let mut fresh = Vec::new();
        for pid in pids {
            if self.visited.contains_key(&pid) || self.reached.cut.contains_key(&pid) {
                continue;
            }
            if is_ours(pid) {
                continue;
            }
            let is_over = self.visited.len() >= MAX_PROCESSES
                || self.bounds.threads == 0
                || self.bounds.is_over();
            let census = if is_over {
                None
            } else {
                census::of(pid, self.bounds.threads, self.bounds.deadline)
            };
            let Some(Census {
                threads,
                is_partial,
            }) = census
            else {
                self.cut(pid);
                continue;
            };
            self.bounds.threads -= threads.len().min(self.bounds.threads);
            self.engine.chains_cut += u64::from(is_partial);
            if !self.near_pids.contains(&pid) {
                fresh.extend(threads.iter().copied());
            }
            self.visited.insert(pid, threads);
        }
        if fresh.is_empty() {
            return;
        }
        let asleep = (self.asleep)();
        let Assembled {
            locks,
            ranks: _,
            threads,
            places,
            parked: _,    // told of watched processes only
            parts: _,     // for those who look for holders
            abandoned: _, // likewise
        } = beyond::assemble(&fresh, &asleep, self.engine);
        self.reached.far.locks.extend(locks);
        self.reached.far.threads.extend(threads);
        self.reached.far.places.extend(places);
    }

    fn cut(&mut self, pid: u32) {
        if is_ours(pid) || self.reached.cut.contains_key(&pid) {
            return;
        }
        self.engine.chains_cut += 1;
        let comm = crate::proc::process::Proc::default()
            .comm(pid)
            .unwrap_or_default();
        self.reached.cut.insert(pid, comm);
    }

    fn finish(mut self) -> Reached {
        if !self.visited.is_empty() {
            let leading = self.reached.stands.keys().map(|&((_, tid), _)| tid);
            let leading = leading.collect();
            let far = &self.reached.far;
            self.reached.stale = confirm::confirm(self.near, far, &leading, self.engine);
        }
        self.reached
    }
}

/// Two looks at each thread, nobody stopped.
fn look_at(threads: &BTreeSet<(u32, u32)>) -> Vec<Doing> {
    if threads.is_empty() {
        return Vec::new();
    }
    let threads: Vec<(u32, u32)> = threads.iter().copied().collect();
    let first = doing::observe(&threads, Instant::now() + LOOK);
    std::thread::sleep(BETWEEN);
    let second = doing::observe(&threads, Instant::now() + LOOK);
    first
        .iter()
        .zip(&second)
        .map(|(first, second)| doing::conclude(first, second))
        .collect()
}
