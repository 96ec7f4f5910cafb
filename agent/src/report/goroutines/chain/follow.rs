//! One step further: from those that wait to those that can end the wait.

use std::collections::BTreeSet;

use super::{Chain, Others, Question, id, wanted};
use crate::{
    explain::graph::facts::{self, Block, Hold, Id},
    model::{
        Holder, Kind,
        explanation::{Confidence, LinkKind},
    },
    report::goroutines::locks::Waited,
    runtime::go::{
        census::Target,
        channel::Case,
        lockword::Held,
        status::Status,
        suspect::{self, Suspect},
    },
};

/// Goroutines at the other side of one channel, and those that a `WaitGroup` or a writer waits for.
const MAX_OTHERS: usize = 8;

impl Chain<'_> {
    /// Looks for the other side of what these goroutines wait for; returns who that is.
    pub(super) fn round(
        &mut self,
        from: &BTreeSet<usize>,
        locks: &mut [Waited],
    ) -> BTreeSet<usize> {
        let mut questions = Vec::new();
        let mut wanted = Vec::new();
        let mut at_channels = Vec::new();
        for &index in from {
            self.followed.insert(index);
            let Some(goroutine) = self.census.goroutines.get(index) else {
                continue;
            };
            if let Some(&number) = self.lock_of.get(&index)
                && let Some(waited) = locks.get(number)
            {
                self.waits(index, waited);
                let address = Case {
                    channel: waited.awaited.address,
                    sends: false,
                };
                if self.asked.insert(address, Others::default()).is_none() {
                    questions.extend(wanted::lock(waited, locks).map(|one| {
                        wanted.push(one);
                        Question::Lock(number)
                    }));
                }
            } else if let Target::Channels(cases) = &goroutine.target {
                at_channels.push((index, cases));
                for case in cases.iter().filter(|case| !self.asked.contains_key(case)) {
                    let waiters = self.at_channel.get(case).into_iter().flatten().copied();
                    let waiters = waiters.collect();
                    wanted.push(wanted::channel(case.channel, case.sends, waiters));
                    questions.push(Question::Channel(*case));
                }
                for case in cases.iter() {
                    self.asked.entry(*case).or_default();
                }
            }
        }
        let found = suspect::find(self.census, &wanted, self.deadline);
        let mut next = BTreeSet::new();
        for (question, suspects) in questions.into_iter().zip(found) {
            match question {
                Question::Lock(number) => next.extend(self.enders(number, locks, &suspects)),
                Question::Channel(case) => {
                    self.asked.insert(case, others(&suspects));
                }
            }
        }
        for (index, cases) in at_channels {
            next.extend(self.partners(index, cases));
        }
        next.retain(|index| !self.followed.contains(index));
        next
    }

    fn waits(&mut self, index: usize, waited: &Waited) {
        let goroutine = self.census.goroutines.get(index);
        let since_ns = goroutine.and_then(|goroutine| self.ages.age_ns(self.census, goroutine));
        self.found.facts.waits.push(facts::Wait {
            thread: id(self.census, index),
            lock: waited.lock.name(),
            since_ns,
            at_least: since_ns.is_some(),
            site: self.site(index),
            confidence: Confidence::Exact,
        });
    }

    /// Who holds a lock, or is to be waited for, or is to signal.
    fn enders(&mut self, number: usize, locks: &mut [Waited], suspects: &[Suspect]) -> Vec<usize> {
        let Some(waited) = locks.get(number) else {
            return Vec::new();
        };
        if waited.awaited.kind == Kind::Condvar {
            return self.signallers(waited, suspects);
        }
        let chosen = self.holders(waited, suspects);
        let holder = match chosen.as_slice() {
            [suspect, ..] if waited.awaited.kind != Kind::Join => self.holder(suspect),
            _ => None,
        };
        // Readers and writers of one lock have one holder.
        let same = waited.lock.name();
        let rows = locks.iter_mut().filter(|row| row.lock.name() == same);
        rows.for_each(|row| row.lock.holder.clone_from(&holder));
        chosen.iter().map(|suspect| suspect.index).collect()
    }

    /// The likeliest holders: as many as the lock says there are.
    fn holders<'s>(&mut self, waited: &Waited, suspects: &'s [Suspect]) -> Vec<&'s Suspect> {
        let most = match waited.held {
            Some(Held::Counting(n) | Held::ByReaders(n)) => {
                usize::try_from(n).unwrap_or(MAX_OTHERS).min(MAX_OTHERS)
            }
            _ => 1,
        };
        // Who is about to take a lock does not have it; but when nobody has it, it is theirs next.
        let is_on_its_way = waited.held == Some(Held::Nobody);
        let chosen = suspects
            .iter()
            .filter(|suspect| self.is_taking(suspect.index) == is_on_its_way);
        let chosen: Vec<&Suspect> = chosen.take(most).collect();
        for suspect in &chosen {
            self.found.facts.holds.push(Hold {
                lock: waited.lock.name(),
                thread: id(self.census, suspect.index),
                confidence: Confidence::Inferred,
                known_by: self.known_by(suspect),
                since_ns: None,
                at_least: false,
                site: None,
                any: false,
            });
        }
        chosen
    }

    /// Whether a goroutine is in the midst of taking a lock, and no longer waits.
    fn is_taking(&self, index: usize) -> bool {
        let goroutine = self.census.goroutines.get(index);
        goroutine.is_some_and(|goroutine| {
            let stack = self.census.stack(goroutine);
            goroutine.record.status != Status::Waiting
                && stack.is_some_and(|stack| stack.operation.of.starts_with("sync."))
        })
    }

    fn known_by(&self, suspect: &Suspect) -> String {
        if self.is_taking(suspect.index) {
            return "it was woken to take it".to_owned();
        }
        suspect.known_by()
    }

    fn holder(&self, suspect: &Suspect) -> Option<Holder> {
        let goroutine = self.census.goroutines.get(suspect.index)?;
        Some(Holder {
            pid: Some(self.census.program.pid),
            tid: self.census.thread(goroutine).unwrap_or(0),
            goid: Some(goroutine.record.goid),
            comm: self.function(suspect.index),
            known_by: self.known_by(suspect),
            confidence: Confidence::Inferred,
            since_ns: None,
            since_is_at_least: false,
        })
    }

    /// Who may signal a condition variable: those that have to do with it. There may be others.
    fn signallers(&mut self, waited: &Waited, suspects: &[Suspect]) -> Vec<usize> {
        let cond = Id::Lock(waited.lock.name());
        self.found.facts.open.push(cond.clone());
        let chosen: Vec<usize> = suspects
            .iter()
            .take(MAX_OTHERS)
            .map(|suspect| suspect.index)
            .collect();
        for &index in &chosen {
            self.block(cond.clone(), index, "expected to be signalled by", true);
        }
        chosen
    }

    /// From a goroutine to those at the other sides of its channels. Any one of several can end its wait.
    fn partners(&mut self, from: usize, cases: &[Case]) -> Vec<usize> {
        let known: Vec<Others> = cases
            .iter()
            .map(|case| self.asked.get(case).cloned().unwrap_or_default())
            .collect();
        let is_timed = cases.iter().any(|case| {
            let channel = self.census.channels.get(&case.channel);
            channel.is_some_and(|channel| channel.due_ns.is_some())
        });
        let own = Id::Thread(id(self.census, from));
        if is_timed
            || known
                .iter()
                .any(|others| others.is_open || others.goroutines.is_empty())
        {
            self.found.facts.open.push(own.clone());
        }
        let mut next = Vec::new();
        for (case, others) in cases.iter().zip(known) {
            let text = match (case.sends, cases.len()) {
                (true, 1) => "whose receiver is",
                (false, 1) => "whose sender is",
                (true, _) => "one of whose receivers is",
                (false, _) => "one of whose senders is",
            };
            for to in others.goroutines.into_iter().filter(|to| *to != from) {
                self.block(own.clone(), to, text, true);
                next.push(to);
            }
        }
        next
    }

    fn block(&mut self, from: Id, to: usize, text: &str, any: bool) {
        self.found.facts.blocks.push(Block {
            from,
            to: Id::Thread(id(self.census, to)),
            kind: LinkKind::ProducedBy,
            confidence: Confidence::Inferred,
            text: text.to_owned(),
            since_ns: None,
            site: None,
            any,
        });
    }
}

/// Those whose functions receive, or send.
fn others(suspects: &[Suspect]) -> Others {
    let chosen = || suspects.iter().take(MAX_OTHERS);
    Others {
        goroutines: chosen().map(|suspect| suspect.index).collect(),
        is_open: !chosen().all(|suspect| suspect.is_direct),
    }
}
