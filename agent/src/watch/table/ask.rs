//! What the namer is to be asked in this tick: names of the words that most threads wait for first, then holders of those
//! that are waited for longest.

use std::cmp::Reverse;

use holdup_abi::lock::LockKey;

use super::{
    Place, Table,
    word::{Naming, Word},
};
use crate::model::Kind;

/// A word to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its place.
    pub place: Place,
    /// The word.
    pub key: LockKey,
    /// Operation of a wait.
    pub op: u32,
    /// Value that it expected.
    pub value: u32,
    /// Thread that waits, and since when, on the monotonic clock (`u64::MAX`: not known).
    pub waiter: Option<(u32, u64)>,
}

impl Table {
    /// What to ask now: names of `names` words that somebody waits for, holders of `holders` locks, and names of `others`
    /// that nobody waits for now.
    pub fn questions(&mut self, names: usize, holders: usize, others: usize) -> Vec<Question> {
        let mut wanted: Vec<(Reverse<u32>, u64, Place)> = Vec::new();
        let mut held: Vec<(Reverse<u32>, u64, Place)> = Vec::new();
        for (row, place) in self.waited_rows() {
            let Some(word) = self.words.get(place) else {
                continue;
            };
            let since_ns = word.waiters.oldest_since_ns;
            if word.wants_name(self.now) {
                wanted.push((Reverse(word.waiters.count), since_ns, place));
            } else if !word.is_asked && has_holder(row.name.kind) && speaks(row, word) {
                held.push((Reverse(0), since_ns, place));
            }
        }
        let mut questions = Vec::new();
        for (list, most) in [(&mut wanted, names), (&mut held, holders)] {
            if list.len() > most {
                list.select_nth_unstable(most);
                list.truncate(most);
            }
            list.sort_unstable();
            for (_, _, place) in list {
                questions.extend(self.ask(*place));
            }
        }
        for _ in 0..others.min(self.unnamed.len()) {
            let Some(&place) = self.unnamed.front() else {
                break;
            };
            let Some(word) = self.words.get(place) else {
                self.unnamed.pop_front();
                continue;
            };
            let is_new = word.naming == Naming::New;
            // All behind it are younger.
            if (self.now.wrapping_sub(word.ask_at) as i32) < 0 && is_new {
                break;
            }
            self.unnamed.pop_front();
            let is_unjudged = is_new || (word.naming == Naming::Unknown && word.tries == 0);
            if is_unjudged && !word.is_asked {
                questions.extend(self.ask(place));
            }
        }
        questions
    }

    fn ask(&mut self, place: Place) -> Option<Question> {
        let word = self.words.get_mut(place)?;
        word.is_asked = true;
        let waiters = word.waiters;
        word.asked_since_ns = waiters.oldest_since_ns;
        Some(Question {
            place,
            key: word.key,
            op: waiters.op,
            value: waiters.value,
            waiter: (waiters.count > 0).then_some((waiters.oldest_tid, waiters.oldest_since_ns)),
        })
    }
}

/// Whether locks of this kind say who holds them.
const fn has_holder(kind: Kind) -> bool {
    kind.is_lock() || matches!(kind, Kind::Join)
}

/// Whether this word is the one of its lock to be asked: the one whose waiter has waited longest.
fn speaks(row: &super::row::Row, word: &Word) -> bool {
    let oldest_ns = row.lock.oldest_since_ns;
    row.words.len() == 1
        || oldest_ns.is_none_or(|oldest_ns| word.waiters.oldest_since_ns <= oldest_ns)
}
