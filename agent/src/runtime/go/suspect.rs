//! Who may hold what goroutines wait for. Go stores no owner: a goroutine that has a lock has pointers to it on its
//! stack, and was in a function that takes it. A guess, ranked by its evidence.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use super::{
    behind::Behind,
    calls::Calls,
    census::{Census, Target},
};
use crate::proc::memory::{Memory, Piece, Process};

/// Goroutines whose stacks are searched.
const MAX_SEARCHED: usize = 20_000;
/// Bytes of a stack that are searched.
const MAX_STACK: u64 = 64 << 10;
/// Stacks read at once.
const BATCH: usize = 256;
/// Bytes before a lock at which the structure that it is in may begin.
const BEFORE: u64 = 64;
/// Most hits that count: a deep stack has many copies of one pointer.
const MAX_HITS: u64 = 8;
/// What it is worth, in hits, that a function takes the lock itself, or calls one that does.
const TAKES: u64 = 16;
const TAKES_BY_CALL: u64 = 6;

/// What to look for on stacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Address of the lock or channel.
    pub address: u64,
    /// Bytes from there on to which pointers are as good.
    pub size: u64,
    /// Pointers to what it may be part of count too.
    pub is_embedded: bool,
    /// Pointers to what points to it count if nobody has better ones.
    pub is_pointed_to: bool,
    /// Parts of the names of functions that only those call who have to do with it, e.g. `(*Mutex).`.
    pub calls: &'static [&'static str],
    /// Beginnings of the names of library functions that tell by being on the stack.
    pub inside: &'static [&'static str],
    /// Goroutines (by index) that are no suspects, as they wait for it.
    pub waiters: HashSet<usize>,
}

/// A goroutine that may hold something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Its index in the census.
    pub index: usize,
    /// Pointers to the lock on its stack.
    pub hits: u64,
    /// A function on its stack that takes it.
    pub takes: String,
    /// It calls one that does.
    by_call: bool,
    /// Its stack has a pointer to the lock itself, or to what the lock is part of.
    pub is_direct: bool,
}

impl Suspect {
    fn score(&self) -> u64 {
        let takes = if self.by_call { TAKES_BY_CALL } else { TAKES };
        self.hits.min(MAX_HITS) + takes
    }

    /// The evidence in words.
    #[must_use]
    pub fn known_by(&self) -> String {
        let takes = if self.by_call {
            "calls what takes it"
        } else {
            "takes it"
        };
        let points = if self.is_direct {
            "points to it"
        } else {
            "points to what has it"
        };
        format!("its stack {points}, and {} {takes}", self.takes)
    }
}

/// Finds suspects for each of `wanted`, the likeliest first.
#[must_use]
pub fn find(census: &Census, wanted: &[Wanted], deadline: Instant) -> Vec<Vec<Suspect>> {
    let mut suspects = search(census, wanted, true, deadline);
    let unmet: Vec<usize> = (0..wanted.len())
        .filter(|&index| suspects.get(index).is_some_and(Vec::is_empty))
        .filter(|&index| wanted.get(index).is_some_and(|wanted| wanted.is_pointed_to))
        .collect();
    if !unmet.is_empty() {
        let again: Vec<Wanted> = unmet
            .iter()
            .filter_map(|&index| wanted.get(index).cloned())
            .collect();
        for (&index, found) in unmet.iter().zip(search(census, &again, false, deadline)) {
            if let Some(slot) = suspects.get_mut(index) {
                *slot = found;
            }
        }
    }
    suspects
}

/// Looks for pointers to it, or for pointers to what points to it.
fn search(
    census: &Census,
    wanted: &[Wanted],
    is_direct: bool,
    deadline: Instant,
) -> Vec<Vec<Suspect>> {
    let memory = Process {
        pid: census.program.pid,
    };
    let mut behind = Behind::new(&memory, census, wanted);
    let mut calls = Calls::new(&census.program, &memory);
    let mut suspects = vec![Vec::new(); wanted.len()];
    let mut starts: Vec<(u64, usize)> = wanted
        .iter()
        .enumerate()
        .map(|(index, wanted)| (wanted.address, index))
        .collect();
    starts.sort_unstable();
    for batch in order(census).chunks(BATCH) {
        if Instant::now() >= deadline {
            break;
        }
        let mut stacks: Vec<Vec<u8>> = batch
            .iter()
            .map(|&index| {
                let record = census.goroutines.get(index).map(|g| g.record);
                let used = record
                    .filter(super::Record::is_whole)
                    .map_or(0, |record| (record.stack_hi - record.sp).min(MAX_STACK));
                vec![0; usize::try_from(used).unwrap_or(0)]
            })
            .collect();
        let mut pieces: Vec<Piece<'_>> = stacks
            .iter_mut()
            .zip(batch)
            .map(|(bytes, &index)| Piece {
                address: census.goroutines.get(index).map_or(0, |g| g.record.sp),
                bytes,
                is_read: false,
            })
            .collect();
        memory.read_many(&mut pieces);
        for (piece, &index) in pieces.iter().zip(batch).filter(|(piece, _)| piece.is_read) {
            let found = if is_direct {
                hits(piece.bytes, wanted, &starts)
            } else {
                let record = census.goroutines.get(index).map(|g| g.record);
                let own = record.map_or(0..0, |record| record.stack_lo..record.stack_hi);
                behind.hits(piece.bytes, &own)
            };
            for (number, hits) in found {
                let (Some(wanted), Some(found)) = (wanted.get(number), suspects.get_mut(number))
                else {
                    continue;
                };
                if wanted.waiters.contains(&index) {
                    continue;
                }
                // Who has a pointer may only use it, e.g. to start those who take the lock.
                if let Some((takes, by_call)) = calls.takes(census, index, wanted) {
                    found.push(Suspect {
                        index,
                        hits,
                        takes,
                        by_call,
                        is_direct,
                    });
                }
            }
        }
    }
    for found in &mut suspects {
        found.sort_by_key(|suspect| (std::cmp::Reverse(suspect.score()), suspect.index));
    }
    suspects
}

/// Goroutines to search: those of large crowds last, since a crowd waits and does not hold.
fn order(census: &Census) -> Vec<usize> {
    let mut crowds: HashMap<&Target, usize> = HashMap::new();
    let semaphore = |target: &&Target| matches!(target, Target::Semaphore(_));
    for target in census
        .goroutines
        .iter()
        .map(|g| &g.target)
        .filter(semaphore)
    {
        *crowds.entry(target).or_default() += 1;
    }
    let mut order: Vec<(usize, usize)> = census
        .goroutines
        .iter()
        .enumerate()
        .filter(|(_, goroutine)| goroutine.stack.is_some())
        .map(|(index, goroutine)| (crowds.get(&goroutine.target).copied().unwrap_or(0), index))
        .collect();
    order.sort_unstable();
    order.truncate(MAX_SEARCHED);
    order.into_iter().map(|(_, index)| index).collect()
}

/// Counts pointers to each of `wanted`; `starts` are their addresses, sorted.
fn hits(stack: &[u8], wanted: &[Wanted], starts: &[(u64, usize)]) -> HashMap<usize, u64> {
    let mut hits = HashMap::new();
    let (words, _) = stack.as_chunks::<8>();
    for word in words.iter().map(|word| u64::from_le_bytes(*word)) {
        let first = starts.partition_point(|(address, _)| *address < word.saturating_sub(BEFORE));
        let near = starts
            .iter()
            .skip(first)
            .take_while(|(address, _)| *address <= word.saturating_add(BEFORE));
        for (address, index) in near {
            let Some(wanted) = wanted.get(*index) else {
                continue;
            };
            let worth = match word.checked_sub(*address) {
                Some(inside) if inside < wanted.size => 4,
                None if wanted.is_embedded && word.is_multiple_of(8) => 1,
                _ => continue,
            };
            *hits.entry(*index).or_default() += worth;
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_to_it_and_to_what_it_is_in() {
        let wanted = |address, is_embedded| Wanted {
            address,
            size: 1,
            is_embedded,
            is_pointed_to: false,
            calls: &[],
            inside: &[],
            waiters: HashSet::new(),
        };
        let wanted = [wanted(0x1040, true), wanted(0x1048, false)];
        let starts = [(0x1040, 0), (0x1048, 1)];
        let stack: Vec<u8> = [0x1040_u64, 0x1020, 0x1001, 0x1048, 0xfd8, u64::MAX]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        let hits = hits(&stack, &wanted, &starts);
        // Four times for the lock itself, once for 0x1020; 0x1001 is no pointer and 0xfd8 is too far.
        assert_eq!(hits, HashMap::from([(0, 5), (1, 4)]));
    }
}
