//! Who may hold what goroutines wait for. Go stores no owner: a goroutine that has a lock has pointers to it on its
//! stack, and was in a function that takes it. A guess, ranked by its evidence.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use iced_x86::{Decoder, DecoderOptions, FlowControl};

use super::{
    census::{Census, Target},
    pclntab::{Function, Pclntab},
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
/// Most functions of the application that are said to be called by one.
const MAX_CALLED: usize = 64;
/// Largest function whose calls are read.
const MAX_CODE: u64 = 64 << 10;

/// What to look for on stacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Address of the lock or channel.
    pub address: u64,
    /// Bytes from there on to which pointers are as good.
    pub size: u64,
    /// Pointers to what it may be part of count too.
    pub is_embedded: bool,
    /// Parts of the names of functions that only those call who have to do with it, e.g. `(*Mutex).`.
    pub calls: &'static [&'static str],
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
        format!("its stack points to it, and {} {takes}", self.takes)
    }
}

/// Finds suspects for each of `wanted`, the likeliest first.
#[must_use]
pub fn find(census: &Census, wanted: &[Wanted], deadline: Instant) -> Vec<Vec<Suspect>> {
    let memory = Process {
        pid: census.program.pid,
    };
    let mut calls = Calls {
        table: &census.program.table,
        memory: &memory,
        known: HashMap::new(),
    };
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
            for (number, hits) in hits(piece.bytes, wanted, &starts) {
                let (Some(wanted), Some(found)) = (wanted.get(number), suspects.get_mut(number))
                else {
                    continue;
                };
                if wanted.waiters.contains(&index) {
                    continue;
                }
                // Who has a pointer may only use it, e.g. to start those who take the lock.
                if let Some((takes, by_call)) = calls.takes(census, index, wanted.calls) {
                    found.push(Suspect {
                        index,
                        hits,
                        takes,
                        by_call,
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

/// What functions call, remembered.
struct Calls<'a> {
    table: &'a Pclntab,
    memory: &'a Process,
    known: HashMap<u64, Called>,
}

/// What a function calls.
struct Called {
    /// All names, with those of what was inlined.
    names: Vec<String>,
    /// The application's own functions.
    functions: Vec<Function>,
}

impl Calls<'_> {
    /// The innermost function of the application on a goroutine's stack that calls any of these, and whether it does so
    /// through another one.
    fn takes(&mut self, census: &Census, index: usize, parts: &[&str]) -> Option<(String, bool)> {
        let stack = census.stack(census.goroutines.get(index)?)?;
        let own: Vec<(Function, &str)> = stack
            .frames
            .iter()
            .filter(|(_, frame)| !is_library(&frame.function))
            .filter_map(|(address, frame)| {
                Some((self.table.find(*address)?, frame.function.as_str()))
            })
            .collect();
        let any = |names: &[String]| {
            names
                .iter()
                .any(|name| parts.iter().any(|part| name.contains(part)))
        };
        let takes = |(function, name): &(Function, &str)| {
            any(&self.of(*function).names).then(|| (*name).to_owned())
        };
        if let Some(name) = own.iter().find_map(takes) {
            return Some((name, false));
        }
        own.iter().find_map(|(function, name)| {
            let called = self.of(*function).functions.clone();
            called
                .into_iter()
                .any(|called| any(&self.of(called).names))
                .then(|| ((*name).to_owned(), true))
        })
    }

    /// What a function calls.
    fn of(&mut self, function: Function) -> &Called {
        let (table, memory) = (self.table, self.memory);
        self.known.entry(function.entry).or_insert_with(|| {
            let mut names = table.inlined_into(function, memory);
            let mut functions = Vec::new();
            let end = table.end(function).unwrap_or(function.entry);
            let size = end.saturating_sub(function.entry).min(MAX_CODE);
            let mut code = vec![0; usize::try_from(size).unwrap_or(0)];
            if memory.read(function.entry, &mut code) {
                for entry in called(&code, function.entry) {
                    let Some(called) = table.find(entry) else {
                        continue;
                    };
                    let name = table.name(called).unwrap_or_default();
                    if !is_library(&name) && functions.len() < MAX_CALLED {
                        functions.push(called);
                    }
                    names.push(name);
                }
            }
            Called { names, functions }
        })
    }
}

/// Addresses that code calls.
fn called(code: &[u8], address: u64) -> HashSet<u64> {
    Decoder::with_ip(64, code, address, DecoderOptions::NONE)
        .into_iter()
        .filter(|instruction| instruction.flow_control() == FlowControl::Call)
        .map(|instruction| instruction.near_branch_target())
        .collect()
}

/// Whether a function is the standard library's, through which everybody waits.
fn is_library(name: &str) -> bool {
    ["runtime.", "sync.", "internal/", "syscall."]
        .iter()
        .any(|prefix| name.starts_with(prefix))
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
            calls: &[],
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

    #[test]
    fn calls_of_code() {
        // call +0x10; ret
        let code = [0xe8, 0x10, 0, 0, 0, 0xc3];
        assert_eq!(called(&code, 0x1000), HashSet::from([0x1015]));
    }
}
