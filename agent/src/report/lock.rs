//! Putting locks together: futex words with their statistics, waiters and call paths become [`model::Lock`]s.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    rc::Rc,
};

use holdup_abi::lock::{self as abi, LockKey};

use super::{
    apportion::apportion,
    holder::{owner, parts},
    holds::{self, Measured},
    identify, name,
    process::Processes,
    reach::{
        place::{Place, Sharing},
        sharers::Sharers,
    },
    stacks::{RawStack, Tally},
    verdict::{self, Keepsake, Subject},
    waiter::Waiter,
};
use crate::{
    model::{
        self, Frame, Kind, Outcomes, Site, explanation::LockRef, histogram::Bucket, lock::WaitNs,
    },
    probe::slow,
    runtime::{self, Verdict, told::Told},
    symbol::{Space, Symbols},
};

/// Everything known of one futex word.
#[derive(Clone, Debug)]
pub struct Word {
    /// Which.
    pub key: LockKey,
    /// The kernel side's statistics; `None` when nothing was recorded.
    pub stats: Option<abi::Lock>,
    /// Threads that wait now.
    pub waiters: Vec<Waiter>,
    /// Call paths of sampled waits.
    pub paths: Vec<(RawStack, Tally)>,
    /// What was measured besides waits.
    pub measured: Measured,
}

/// Means to look things up.
#[expect(
    missing_debug_implementations,
    reason = "a bundle of references for one call"
)]
pub struct Sources<'a> {
    /// Symbols of all modules.
    pub symbols: &'a mut Symbols,
    /// What was read of processes.
    pub processes: &'a Processes,
    /// Memory around words, by word.
    pub keepsakes: &'a HashMap<LockKey, Keepsake>,
    /// Who can hold locks in shared memory.
    pub sharers: &'a Sharers,
    /// Now on the monotonic clock, in nanoseconds.
    pub now_ns: u64,
    /// How long we watched, in nanoseconds: what a wait that goes on counts for at most when locks are ranked.
    pub watched_ns: u64,
}

/// A word with what it turned out to be.
pub(super) struct Judged {
    pub word: Word,
    pub verdict: Verdict,
    pub sharing: Sharing,
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// Its process.
    pub pid: u32,
    /// Address of the lock.
    pub address: u64,
    /// Kind of the lock.
    pub kind: Kind,
    /// For how long in nanoseconds; `None` when not known.
    pub age_ns: Option<u64>,
    /// `age_ns` is a lower bound.
    pub at_least: bool,
    /// See [`Waiter::steady`].
    pub steady: bool,
}

/// The locks, and for each waiting thread its lock's address and kind.
#[derive(Debug, Default)]
pub struct Assembled {
    /// Locks, most total wait first.
    pub locks: Vec<model::Lock>,
    /// All time waited for each of them, finished or not, in nanoseconds.
    pub ranks: Vec<u128>,
    /// By thread id: what it waits for.
    pub threads: HashMap<u32, Wait>,
    /// Where locks lie that processes share.
    pub places: HashMap<LockRef, Place>,
    /// By process: waiting threads by kind.
    pub parked: HashMap<Space, BTreeMap<String, u64>>,
    /// Words and waiters of the locks that somebody waits for.
    pub parts: HashMap<parts::Row, parts::Parts>,
    /// Locks whose owner is dead, though its id is not.
    pub abandoned: HashSet<LockRef>,
}

/// Words by process id, generation, address and kind of the lock that they belong to.
pub(super) type Groups = BTreeMap<(u32, u32, u64, Kind), Vec<Judged>>;

/// Assembles all words. Words that belong to the same lock object (the two groups of a condition variable) are merged.
#[must_use]
pub fn assemble(words: Vec<Word>, sources: &mut Sources<'_>) -> Assembled {
    let mut assembled = Assembled::default();
    let mut groups: Groups = BTreeMap::new();
    for word in words {
        let (verdict, sharing) = judge(&word, sources);
        let space = space_of(&word.key);
        for waiter in &word.waiters {
            let wait = Wait {
                pid: space.pid,
                address: verdict.address,
                kind: verdict.kind,
                age_ns: waiter
                    .since_ns
                    .map(|since_ns| sources.now_ns.saturating_sub(since_ns)),
                at_least: waiter.at_least,
                steady: waiter.steady,
            };
            assembled.threads.insert(waiter.tid, wait);
            let parked = assembled.parked.entry(space).or_default();
            *parked.entry(verdict.kind.as_str().to_owned()).or_default() += 1;
        }
        let key = (space.pid, space.generation, verdict.address, verdict.kind);
        groups.entry(key).or_default().push(Judged {
            word,
            verdict,
            sharing,
        });
    }
    assembled.parts = parts::of(&groups);
    let mut locks: Vec<(u128, model::Lock)> = groups
        .into_values()
        .filter_map(|group| {
            let place = identify::place(group.iter().map(|judged| {
                let inside = judged.word.key.address.checked_sub(judged.verdict.address);
                (inside, &judged.sharing)
            }));
            let (rank, lock) = build(group, place.as_ref(), sources)?;
            if let Some(place) = place {
                assembled.places.insert(lock.name(), place);
            }
            Some((rank, lock))
        })
        .collect();
    locks.sort_by(|(left, a), (right, b)| right.cmp(left).then_with(|| a.id.cmp(&b.id)));
    (assembled.ranks, assembled.locks) = locks.into_iter().unzip();
    assembled
}

/// Address space of a lock.
#[must_use]
pub const fn space_of(key: &LockKey) -> Space {
    Space {
        pid: key.tgid,
        generation: key.generation,
    }
}

fn judge(word: &Word, sources: &mut Sources<'_>) -> (Verdict, Sharing) {
    let space = space_of(&word.key);
    let mapping = sources.symbols.mapping(space, word.key.address);
    let sharing = Sharing::of(mapping.as_ref(), word.key.address);
    let frames = sources.symbols.symbolize(space, &heaviest(word));
    let example = word.waiters.first();
    let (op, value) = match (example, &word.stats) {
        (Some(waiter), _) => (waiter.op, waiter.value),
        (None, Some(stats)) => (stats.op, stats.value),
        (None, None) => (0, 0),
    };
    let subject = Subject {
        key: word.key,
        op,
        value,
        sp: example.map_or(0, |waiter| waiter.regs.sp),
        frames: &frames,
        comm: example.map_or("", |waiter| &waiter.comm),
        alive: sources.processes.is_alive(space),
        sharing: &sharing,
        sharers: sources.sharers,
        keepsake: sources.keepsakes.get(&word.key),
        fresh: example.is_some(),
        told: word.stats.as_ref().and_then(told),
    };
    let mut verdict = verdict::judge(&subject);
    if verdict.dead_owner.is_some() {
        // An owner that let go and ended since its word was read is no dead owner: the word must name it still, read
        // after it was found to be gone. Of a process that is gone itself nothing can be said.
        let now = verdict::judge(&Subject {
            fresh: false,
            ..subject
        });
        if !subject.alive || now.dead_owner != verdict.dead_owner {
            verdict.dead_owner = None;
        }
    }
    (verdict, sharing)
}

/// What a probe on a contended entry point told of the last wait on a word.
fn told(stats: &abi::Lock) -> Option<Told> {
    let (row, address) = slow::told(stats)?;
    Some(Told {
        kind: row.kind,
        runtime: row.runtime,
        address,
        function: row.name(),
    })
}

/// The call path that most time is spent on. With a thread waiting, its own: the stack pointer must fit the frames.
fn heaviest(word: &Word) -> RawStack {
    if let Some(waiter) = word
        .waiters
        .first()
        .filter(|waiter| !waiter.stack.is_empty())
    {
        return Rc::clone(&waiter.stack);
    }
    let paths = word.paths.iter().filter(|(stack, _)| !stack.is_empty());
    // By time first: a word that serves two purposes is known by the one that its waiters spend their time on.
    paths
        .max_by_key(|(stack, tally)| {
            (
                tally.wait_ns,
                tally.samples,
                stack.first().map(|frame| frame.address),
            )
        })
        .map(|(stack, _)| Rc::clone(stack))
        .unwrap_or_default()
}

/// One lock with its rank: all time waited, finished or not.
fn build(
    group: Vec<Judged>,
    place: Option<&Place>,
    sources: &mut Sources<'_>,
) -> Option<(u128, model::Lock)> {
    let first = group.first()?;
    let space = space_of(&first.word.key);
    let (address, kind, runtime) = (
        first.verdict.address,
        first.verdict.kind,
        first.verdict.runtime,
    );
    let evidence = first.verdict.evidence.clone();
    let holder = owner::holder(&group, space.pid, place.is_some(), sources.processes);
    let sum = Sum::of(&group, sources.now_ns, sources.watched_ns);
    let sites = sites(&group, &sum, space, sources);
    // The heaviest one that is known.
    let lead = sites
        .iter()
        .find(|(stack, _)| !stack.is_empty())
        .map(|(stack, site)| (Rc::clone(stack), site.frames.clone()));
    let (id, symbol) = identify::identify(space, address, kind, place, lead.as_ref(), sources);
    let site = lead
        .as_ref()
        .and_then(|(_, frames)| runtime::application_frames(frames).first())
        .map(name::place);
    let measured = || group.iter().map(|judged| &judged.word.measured);
    // The word of a condition variable is nobody's to hold; an unknown one may be a lock of the program's own making.
    let holds = (kind.is_lock() || kind == Kind::Unknown)
        .then(|| holds::holds(measured(), kind, space, sources.symbols))
        .flatten();
    let rank = u128::from(sum.wait_ns.total) + sum.going_on_ns;
    let lock = model::Lock {
        id,
        pid: space.pid,
        address,
        kind,
        runtime: runtime.map(str::to_owned),
        evidence,
        symbol,
        site,
        waiters: sum.waiters,
        waiters_peak: sum.waiters_peak.max(sum.waiters),
        waits: sum.waits,
        outcomes: sum.outcomes,
        value_changed: sum.value_changed,
        wakes: sum.wakes,
        requeues: sum.requeues,
        wait_ns: sum.wait_ns,
        oldest_wait_ns: sum.oldest_wait_ns,
        oldest_is_at_least: sum.oldest_is_at_least,
        last_handoff_ns: sum.last_handoff_ns,
        histogram: buckets(&sum.histogram),
        sites: sites.into_iter().map(|(_, site)| site).collect(),
        holds,
        runqueue: holds::runqueue(measured()),
        holder,
        explanation: None,
    };
    Some((rank, lock))
}

/// Statistics of the words of one lock, added up.
#[derive(Default)]
pub(super) struct Sum {
    pub waiters: u64,
    pub waiters_peak: u64,
    pub waits: u64,
    pub outcomes: Outcomes,
    pub value_changed: u64,
    pub wakes: u64,
    pub requeues: u64,
    pub wait_ns: WaitNs,
    pub oldest_wait_ns: Option<u64>,
    pub oldest_is_at_least: bool,
    pub last_handoff_ns: Option<u64>,
    /// Counts by bucket, empty until the first word is added.
    pub histogram: Vec<u64>,
    /// For how long those wait that wait now, added up.
    pub going_on_ns: u128,
}

impl Sum {
    fn of(group: &[Judged], now_ns: u64, watched_ns: u64) -> Self {
        let mut sum = Self::default();
        for Judged { word, verdict, .. } in group {
            if let Some(stats) = &word.stats {
                sum.add(stats, verdict.kind, now_ns);
            }
            sum.waiters += word.waiters.len() as u64;
            for waiter in &word.waiters {
                let age_ns = waiter
                    .since_ns
                    .map(|since_ns| now_ns.saturating_sub(since_ns));
                sum.going_on_ns += u128::from(age_ns.unwrap_or(0).min(watched_ns));
                sum.oldest_is_at_least |= waiter.at_least;
                sum.oldest_wait_ns = sum.oldest_wait_ns.max(age_ns);
            }
        }
        sum
    }

    /// Adds the statistics of a word of a lock of this kind.
    pub(super) fn add(&mut self, stats: &abi::Lock, kind: Kind, now_ns: u64) {
        let abi::Lock {
            key: _,
            waiters: _, // counted from the threads themselves
            peak_waiters,
            woken,
            timed_out,
            interrupted,
            error,
            value_changed,
            total_ns,
            max_ns,
            wakes,
            requeues,
            last_handoff_ns,
            next_sample_ns: _,
            samples: _,
            last_waker_tid: _,
            op: _,
            value: _,
            last_woken_tid: _,
            flags: _,
            called: _,
            born_ns: _,
            histogram,
            ready_ns: _, // see `Measured::runqueue`
            row: _,      // see `judge`
            inside: _,
        } = stats;
        // The words of a reader-writer lock are waited on side by side, those of a condition variable in turn.
        self.waiters_peak = match kind {
            Kind::RwlockRead | Kind::RwlockWrite => self.waiters_peak + peak_waiters,
            _ => self.waiters_peak.max(*peak_waiters),
        };
        self.waits += woken + timed_out + interrupted + error;
        self.outcomes.woken += woken;
        self.outcomes.timed_out += timed_out;
        self.outcomes.interrupted += interrupted;
        self.outcomes.error += error;
        self.value_changed += value_changed;
        self.wakes += wakes;
        self.requeues += requeues;
        self.wait_ns.total += total_ns;
        self.wait_ns.max = self.wait_ns.max.max(*max_ns);
        self.histogram.resize(abi::BUCKETS, 0);
        for (total, count) in self.histogram.iter_mut().zip(histogram) {
            *total += count;
        }
        if *last_handoff_ns != 0 {
            let ago_ns = now_ns.saturating_sub(*last_handoff_ns);
            self.last_handoff_ns = Some(
                self.last_handoff_ns
                    .map_or(ago_ns, |other| other.min(ago_ns)),
            );
        }
    }
}

pub(super) fn buckets(histogram: &[u64]) -> Vec<Bucket> {
    let all = histogram.iter().enumerate();
    all.filter(|(_, count)| **count > 0)
        .map(|(index, &count)| Bucket {
            le_ns: abi::bucket_le_ns(index),
            count,
        })
        .collect()
}

/// Call paths with their shares, most waiting first.
fn sites(
    group: &[Judged],
    sum: &Sum,
    space: Space,
    sources: &mut Sources<'_>,
) -> Vec<(RawStack, Site)> {
    let mut paths: HashMap<RawStack, (Tally, u64)> = HashMap::new();
    for Judged { word, .. } in group {
        for (stack, tally) in &word.paths {
            let (total, _) = paths.entry(Rc::clone(stack)).or_default();
            total.samples += tally.samples;
            total.ended += tally.ended;
            total.wait_ns = total.wait_ns.saturating_add(tally.wait_ns);
        }
        for waiter in &word.waiters {
            paths.entry(Rc::clone(&waiter.stack)).or_default().1 += 1;
        }
    }
    shared(paths, sum, |stack| sources.symbols.symbolize(space, stack))
}

/// Shares out what is known of a lock among its call paths, given with how many wait there now; most waiting first.
pub(super) fn shared(
    mut paths: HashMap<RawStack, (Tally, u64)>,
    sum: &Sum,
    mut name: impl FnMut(&RawStack) -> Vec<Frame>,
) -> Vec<(RawStack, Site)> {
    let weight = |of: &dyn Fn(&Tally) -> u64| -> Vec<u64> {
        paths.values().map(|(tally, _)| of(tally)).collect()
    };
    // Samples whose end was seen tell about finished waits best; without any, all samples must do.
    let ended = weight(&|tally| tally.ended);
    let counts = if ended.iter().any(|&n| n > 0) {
        ended
    } else {
        weight(&|tally| tally.samples)
    };
    let times = weight(&|tally| tally.wait_ns);
    if sum.waits > 0 && counts.iter().all(|&n| n == 0) {
        // Waits of which no stack is known, e.g. with sampling off.
        paths.entry(Rc::default()).or_default();
    }
    let none_sampled = counts.iter().all(|&n| n == 0);
    let share = |total: u64, weights: &[u64]| {
        if none_sampled {
            paths
                .keys()
                .map(|stack| if stack.is_empty() { total } else { 0 })
                .collect()
        } else {
            apportion(total, weights)
        }
    };
    let waits = share(sum.waits, &counts);
    // Time goes where waits went: "0 waits, 5 ms" would be a riddle.
    let times: Vec<u64> = times
        .iter()
        .zip(&waits)
        .map(|(&ns, &waits)| if waits > 0 { ns } else { 0 })
        .collect();
    let times = if times.iter().any(|&n| n > 0) {
        &times
    } else {
        &counts
    };
    let wait_ns = share(sum.wait_ns.total, times);
    let mut sites: Vec<(RawStack, Site)> = paths
        .iter()
        .zip(waits.into_iter().zip(wait_ns))
        .map(|((stack, (tally, waiters)), (waits, wait_ns))| {
            let frames = name(stack);
            let site = Site {
                waits,
                wait_ns,
                waiters: *waiters,
                samples: tally.samples,
                frames,
            };
            (Rc::clone(stack), site)
        })
        .collect();
    sites.sort_by(|(left_stack, left), (right_stack, right)| {
        // What has no stack names nothing, so it comes last.
        let key = |site: &Site| {
            (
                !site.frames.is_empty(),
                site.waiters,
                site.wait_ns,
                site.waits,
                site.samples,
            )
        };
        key(right).cmp(&key(left)).then_with(|| {
            let address = |stack: &RawStack| stack.first().map(|frame| frame.address);
            address(left_stack).cmp(&address(right_stack))
        })
    });
    sites
}
