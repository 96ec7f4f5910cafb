//! How many goroutines there are and what they wait for, without their stacks.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{census::is_system, poll::Poll, program::Program, status::Status};
use crate::model::go::Goroutines;

/// Goroutines that are read at once.
const BATCH: usize = 4096;
/// Most goroutines.
const MAX: u64 = 4 << 20;
/// Functions that goroutines begin with, and that are remembered before all are forgotten.
const MAX_KNOWN: usize = 16_384;

/// Counts the goroutines of a process again and again.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Whether what begins there is the runtime's own.
    system: HashMap<u64, bool>,
}

impl Tally {
    /// Counts them; `None` when they cannot be read. `program` is asked for when there are new functions.
    ///
    /// # Cost
    /// Some 0.3 us for each goroutine.
    pub fn count(
        &mut self,
        poll: &Poll,
        reasons: &[String],
        mut program: impl FnMut() -> Option<Arc<Program>>,
    ) -> Option<Goroutines> {
        let mut counts: HashMap<(Status, u8), u64> = HashMap::new();
        for addresses in poll.all(MAX)?.chunks(BATCH) {
            for record in poll.records(addresses).into_iter().flatten() {
                if record.status == Status::Dead || record.goid == 0 {
                    continue;
                }
                if !self.system.contains_key(&record.startpc) {
                    let is_system = is_system(&*program()?, record.startpc);
                    if self.system.len() >= MAX_KNOWN {
                        self.system.clear();
                    }
                    self.system.insert(record.startpc, is_system);
                }
                if self.system.get(&record.startpc) == Some(&false) {
                    *counts.entry((record.status, record.reason)).or_default() += 1;
                }
            }
        }
        let mut all = Goroutines::default();
        for ((status, reason), count) in counts {
            all.total += count;
            add(&mut all.by_status, status.as_str(), count);
            if status.waits() {
                let words = reasons.get(usize::from(reason));
                add(&mut all.by_reason, words.map_or("", String::as_str), count);
            }
        }
        Some(all)
    }
}

fn add(counts: &mut BTreeMap<String, u64>, word: &str, count: u64) {
    *counts.entry(word.to_owned()).or_default() += count;
}
