//! The pure part of the watch: words and what changed of them go in, rows come out. No I/O but through [`Statistics`].
//!
//! A word has a *place*: its slot in the kernel's table, or, without hooks, a number given here. Words that turn out to
//! belong to one lock share a row. What a tick costs depends on what has changed: a word that has not is compared and left
//! alone, and a row that has not is handed out as it was.

mod ask;
pub mod counts;
mod idle;
mod message;
mod process;
pub mod row;
#[cfg(test)]
mod tests;
pub mod word;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use holdup_abi::lock::LockKey;

pub use self::{
    ask::Question,
    message::{Answer, Held, Moment, Parked, Place, Tick},
    row::{Identity, Name, NotCounted, Statistics, nameless},
    word::Words,
};
use self::{
    process::Processes,
    row::Row,
    word::{Naming, Waiters, Word},
};
use crate::model::{
    Kind,
    watch::{Process, ProcessKey, View},
};

/// The table.
#[derive(Debug)]
pub struct Table {
    words: Words,
    rows: Vec<Option<Row>>,
    free_rows: Vec<u32>,
    names: HashMap<Name, u32>,
    processes: Processes,
    now: Tick,
    /// Words that somebody waits for in this tick.
    waited: Vec<Place>,
    /// Those of the tick before.
    waited_before: Vec<Place>,
    dirty: Vec<u32>,
    /// Rows without words: shown once more.
    closing: Vec<u32>,
    /// Rows that were shown for the last time, and are kept until one view was without them: a word that comes before that
    /// goes on where they ended.
    fading: Vec<u32>,
    /// Words without waiters that have no name yet.
    unnamed: VecDeque<Place>,
    /// Words that are not shown until they have a name, or have had none for long.
    withheld: VecDeque<Place>,
    live: usize,
    nameless: Arc<str>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            words: Words::default(),
            rows: Vec::new(),
            free_rows: Vec::new(),
            names: HashMap::new(),
            processes: Processes::default(),
            now: 0,
            waited: Vec::new(),
            waited_before: Vec::new(),
            dirty: Vec::new(),
            closing: Vec::new(),
            fading: Vec::new(),
            unnamed: VecDeque::new(),
            withheld: VecDeque::new(),
            live: 0,
            nameless: nameless(),
        }
    }
}

impl Table {
    /// A new tick: nobody is known to wait.
    pub fn begin(&mut self, now: Tick) {
        self.now = now;
        self.waited_before = std::mem::take(&mut self.waited);
        for place in self.waited_before.clone() {
            if let Some(word) = self.words.get_mut(place) {
                word.waiters = Waiters::default();
                let row = word.row;
                self.touch(row);
            }
        }
        while let Some(&place) = self.withheld.front() {
            let word = self.words.get_mut(place);
            if word
                .as_ref()
                .is_some_and(|word| word.may_be_named_soon(now))
            {
                break;
            }
            self.withheld.pop_front();
            if let Some(word) = word.filter(|word| word.naming == Naming::New) {
                word.naming = Naming::Unknown;
                let row = word.row;
                self.touch(row);
            }
        }
    }

    /// A word is there, with so many finished waits. Returns how many of them are new.
    pub fn word(&mut self, place: Place, key: LockKey, waits: u64) -> u64 {
        if let Some(word) = self.words.get_mut(place)
            && word.key == key
        {
            let news = waits.wrapping_sub(word.waits);
            if news != 0 {
                word.waits = waits;
                word.changed = self.now;
                let row = word.row;
                self.touch(row);
            }
            return news;
        }
        // A place is given up before another word gets it.
        self.finish(place, &NotCounted);
        let row = self.row(Name {
            process: ProcessKey {
                pid: key.tgid,
                generation: key.generation,
            },
            address: key.address,
            kind: Kind::Unknown,
        });
        let mut word = Word::new(key, row, self.now);
        word.waits = waits;
        self.processes.comes(word.process(), place, self.now);
        *self.words.slot(place) = Some(word);
        self.join(place, row);
        self.live += 1;
        self.unnamed.push_back(place);
        self.withheld.push_back(place);
        waits
    }

    /// A thread waits for the word at a place, if it is this one.
    pub fn parked(&mut self, place: Place, key: &LockKey, thread: &Parked) {
        let now = self.now;
        let Some(word) = self.words.get_mut(place).filter(|word| word.key == *key) else {
            return;
        };
        let is_first = word.waiters.count == 0;
        word.changed = now;
        word.waits(thread);
        if is_first {
            let row = word.row;
            self.waited.push(place);
            self.touch(row);
        }
    }

    /// Whether a sample of this word would be news.
    #[must_use]
    pub fn wants_sample(&self, place: Place, key: &LockKey) -> bool {
        let word = self.words.get(place).filter(|word| word.key == *key);
        word.is_none_or(|word| word.naming != Naming::Known)
    }

    /// Takes over what was found out.
    pub fn told(&mut self, answer: Answer, statistics: &impl Statistics) {
        let Answer {
            place,
            key,
            identity,
            had_stack,
            held,
        } = answer;
        let now = self.now;
        let Some(word) = self.words.get_mut(place).filter(|word| word.key == key) else {
            return;
        };
        word.is_asked = false;
        let Some(identity) = identity else {
            if word.naming == Naming::New {
                word.naming = Naming::Unknown;
            }
            word.in_vain(now);
            let row = word.row;
            self.touch(row);
            return;
        };
        word.changes = identity.runtime.as_deref() == Some("parking_lot");
        let is_known = identity.kind != Kind::Unknown;
        if !is_known {
            word.in_vain(now);
        }
        let naming = match (is_known, had_stack) {
            (false, _) => Naming::Unknown,
            (true, false) => Naming::Provisional,
            (true, true) => Naming::Known,
        };
        // What was known better stays so.
        let is_news = !matches!(
            (word.naming, naming),
            (Naming::Known, Naming::Provisional | Naming::Unknown)
                | (Naming::Provisional, Naming::Unknown)
        );
        if is_news {
            self.rename(place, naming, &identity, statistics);
        }
        let Some(row) = self.words.get(place).map(|word| word.row) else {
            return;
        };
        if let Some(Some(row)) = self.rows.get_mut(row as usize) {
            if is_news {
                row.identify(identity);
            }
            if let Some(held) = held {
                row.held(held);
            }
        }
        self.touch(row);
    }

    fn rename(
        &mut self,
        place: Place,
        naming: Naming,
        identity: &Identity,
        statistics: &impl Statistics,
    ) {
        let Some(word) = self.words.get_mut(place) else {
            return;
        };
        let was_counted = word.naming != Naming::New;
        let (from, process) = (word.row, word.process());
        let to = self.row(Name {
            process,
            address: identity.address,
            kind: identity.kind,
        });
        if to != from {
            // Of what its old row has shown already, the new one shows nothing.
            let counted = statistics.get(place).map(|stats| counts::of(&stats));
            self.leave(place, from, counted.as_ref().filter(|_| was_counted));
            self.join(place, to);
            if let Some(word) = self.words.get_mut(place) {
                word.row = to;
                word.origin = counted.filter(|_| was_counted).map(Box::new);
            }
        }
        if let Some(word) = self.words.get_mut(place) {
            word.naming = naming;
        }
    }

    /// A process was described.
    pub fn described(&mut self, process: Process) {
        self.processes.described(process);
    }

    /// The word at a place is given up: what it has counted is shown once more.
    pub fn finish(&mut self, place: Place, statistics: &impl Statistics) {
        let Some(word) = self.words.get(place) else {
            return;
        };
        let row = word.row;
        let process = word.process();
        let counted = statistics.get(place).filter(|stats| stats.key == word.key);
        self.leave(place, row, counted.map(|stats| counts::of(&stats)).as_ref());
        *self.words.slot(place) = None;
        self.live -= 1;
        self.processes.goes(process, &self.words);
    }

    /// The view of this tick. Rows whose words are all gone are in it for the last time.
    pub fn view(&mut self, statistics: &impl Statistics, moment: Moment) -> View {
        for index in std::mem::take(&mut self.dirty) {
            if let Some(Some(row)) = self.rows.get_mut(index as usize)
                && row.is_dirty
            {
                row.refresh(&self.words, statistics);
            }
        }
        let listed = self.rows.iter().flatten().filter(|row| row.is_listed);
        let mut locks = Vec::with_capacity(self.names.len());
        locks.extend(listed.map(|row| Arc::clone(&row.lock)));
        let processes = self.processes.shown(self.parked_by_kind());
        self.close();
        let Moment {
            at_ns,
            at,
            plan,
            loss,
            deadlocks,
        } = moment;
        View {
            at_ns,
            at,
            processes,
            locks,
            deadlocks,
            plan,
            loss,
        }
    }

    fn parked_by_kind(&self) -> BTreeMap<ProcessKey, BTreeMap<Kind, u64>> {
        let mut parked: BTreeMap<ProcessKey, BTreeMap<Kind, u64>> = BTreeMap::new();
        for place in &self.waited {
            if let Some(word) = self.words.get(*place)
                && let Some(Some(row)) = self.rows.get(word.row as usize)
            {
                let kinds = parked.entry(word.process()).or_default();
                *kinds.entry(row.name.kind).or_default() += u64::from(word.waiters.count);
            }
        }
        parked
    }

    /// Words that are there.
    #[must_use]
    pub const fn live(&self) -> usize {
        self.live
    }

    /// Words by place.
    #[must_use]
    pub const fn words(&self) -> &Words {
        &self.words
    }

    /// Places of words that somebody waited for in the tick before, and nobody does now.
    #[must_use]
    pub fn left(&self) -> Vec<Place> {
        let is_left = |place: &Place| {
            let word = self.words.get(*place);
            word.is_some_and(|word| word.waiters.count == 0)
        };
        let before = self.waited_before.iter().copied();
        before.filter(is_left).collect()
    }

    /// Rows that somebody waits for, with their words' places.
    pub fn waited_rows(&self) -> impl Iterator<Item = (&Row, Place)> {
        self.waited.iter().filter_map(|&place| {
            let word = self.words.get(place)?;
            let row = self.rows.get(word.row as usize)?.as_ref()?;
            Some((row, place))
        })
    }

    /// Processes that have a word.
    #[must_use]
    pub fn process_count(&self) -> usize {
        self.processes.count()
    }

    /// Processes that have a word.
    pub fn processes(&mut self) -> &mut Processes {
        &mut self.processes
    }

    /// There was no room for a question.
    pub fn refused(&mut self, place: Place) {
        if let Some(word) = self.words.get_mut(place) {
            word.is_asked = false;
        }
    }

    /// The row that a word belongs to.
    #[must_use]
    pub fn row_of(&self, place: Place) -> Option<&Row> {
        let word = self.words.get(place)?;
        self.rows.get(word.row as usize)?.as_ref()
    }

    /// Questions that were asked will not be answered.
    pub fn forget_questions(&mut self) {
        for word in self.words.0.iter_mut().flatten() {
            word.is_asked = false;
        }
        self.processes.forget_questions();
    }

    /// Threads that hold what somebody waits for.
    #[must_use]
    pub fn holders(&self) -> HashSet<u32> {
        let rows = self.waited_rows();
        rows.filter_map(|(row, _)| Some(row.lock.holder.as_ref()?.tid))
            .collect()
    }

    fn row(&mut self, name: Name) -> u32 {
        if let Some(&index) = self.names.get(&name) {
            return index;
        }
        let row = Some(Row::new(name, &self.nameless));
        let index = match self.free_rows.pop() {
            Some(index) => {
                self.rows[index as usize] = row;
                index
            }
            None => {
                self.rows.push(row);
                u32::try_from(self.rows.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.names.insert(name, index);
        index
    }

    fn touch(&mut self, index: u32) {
        if let Some(Some(row)) = self.rows.get_mut(index as usize)
            && !row.is_dirty
        {
            row.is_dirty = true;
            self.dirty.push(index);
        }
    }

    fn join(&mut self, place: Place, index: u32) {
        if let Some(Some(row)) = self.rows.get_mut(index as usize) {
            row.words.push(place);
        }
        self.touch(index);
    }

    /// A word leaves its row, which keeps what it has counted there.
    fn leave(&mut self, place: Place, index: u32, counted: Option<&crate::model::watch::Counts>) {
        let origin = self
            .words
            .get_mut(place)
            .and_then(|word| word.origin.take());
        let Some(Some(row)) = self.rows.get_mut(index as usize) else {
            return;
        };
        row.words.retain(|&other| other != place);
        if let Some(counted) = counted {
            let mut counted = *counted;
            if let Some(origin) = origin {
                counts::since(&mut counted, &origin);
            }
            let base = row.base.get_or_insert_with(|| Box::new(counts::ZERO));
            counts::add(base, &counted);
        }
        if row.words.is_empty() {
            self.closing.push(index);
        }
        self.touch(index);
    }

    /// After a view: rows without words that were in it are kept until one is without them, the others go.
    fn close(&mut self) {
        let mut without_words = std::mem::take(&mut self.fading);
        without_words.append(&mut self.closing);
        without_words.sort_unstable();
        without_words.dedup();
        for index in without_words {
            let Some(slot) = self.rows.get_mut(index as usize) else {
                continue;
            };
            // It may have got words again meanwhile.
            let Some(row) = slot.as_mut().filter(|row| row.words.is_empty()) else {
                continue;
            };
            if row.is_listed {
                row.is_listed = false;
                self.fading.push(index);
            } else {
                self.names.remove(&row.name);
                *slot = None;
                self.free_rows.push(index);
            }
        }
    }
}
