//! Goroutines that do the same at the same place, counted.

use std::{cmp::Reverse, collections::HashMap};

use super::{
    ends::Ends,
    frames,
    wait::{self, Awaited, Waits},
};
use crate::{
    model::{
        GoProcess,
        go::{Goroutines, Group},
    },
    runtime::go::{
        Census, Program,
        ages::Ages,
        census::{Goroutine, Target},
    },
};

/// Most groups of a process.
const MAX_GROUPS: usize = 4096;
/// Numbers of goroutines that a group names.
const MAX_GOIDS: usize = 8;

/// What makes goroutines alike.
#[derive(PartialEq, Eq, Hash)]
struct Key<'a> {
    state: &'static str,
    reason: &'a str,
    stack: Option<usize>,
    gopc: u64,
    awaited: Option<Awaited>,
    channel: Option<u64>,
}

/// Counts the goroutines of a process.
#[must_use]
pub fn of(census: &Census, waits: &Waits, ages: &Ages, ends: &Ends) -> GoProcess {
    let mut groups: HashMap<Key<'_>, Vec<usize>> = HashMap::new();
    for (index, goroutine) in census.goroutines.iter().enumerate() {
        let key = Key {
            state: goroutine.record.status.as_str(),
            reason: census.reason(goroutine),
            stack: goroutine.stack,
            gopc: goroutine.record.gopc,
            awaited: waits.awaited(census, goroutine),
            channel: channel(goroutine),
        };
        groups.entry(key).or_default().push(index);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, members)| {
        let goroutines = members
            .iter()
            .filter_map(|&index| census.goroutines.get(index));
        let first = goroutines.map(|member| member.record.goid).min();
        (Reverse(members.len()), first)
    });
    let left_out = groups.len().saturating_sub(MAX_GROUPS);
    let program = &census.program;
    GoProcess {
        pid: program.pid,
        version: program.version.text.clone(),
        layout: program.provenance.to_string(),
        error: None,
        goroutines: Goroutines {
            total: census.goroutines.len() as u64,
            by_status: census.by_status(),
            by_reason: census.by_reason(),
        },
        groups: groups
            .into_iter()
            .take(MAX_GROUPS)
            .map(|(key, members)| group(census, ages, ends, &key, &members))
            .collect(),
        groups_left_out: left_out as u64,
        torn_reads: census.torn,
        stacks_left_out: census.left_out,
        duration_ns: u64::try_from(census.took.as_nanos()).unwrap_or(u64::MAX),
    }
}

fn group(census: &Census, ages: &Ages, ends: &Ends, key: &Key<'_>, indices: &[usize]) -> Group {
    let members: Vec<&Goroutine> = indices
        .iter()
        .filter_map(|&index| census.goroutines.get(index))
        .collect();
    let mut goids: Vec<u64> = members.iter().map(|member| member.record.goid).collect();
    goids.sort_unstable();
    goids.truncate(MAX_GOIDS);
    Group {
        count: members.len() as u64,
        state: key.state.to_owned(),
        reason: Some(key.reason.to_owned()).filter(|reason| !reason.is_empty()),
        lock: key.awaited.map(|awaited| awaited.address).or(key.channel),
        kind: key.awaited.map(|awaited| awaited.kind),
        oldest_ns: members
            .iter()
            .filter_map(|member| ages.age_ns(census, member))
            .max(),
        goids,
        detail: detail(census, ends, &members, indices),
        created_by: function(&census.program, key.gopc),
        frames: key
            .stack
            .and_then(|stack| census.stacks.get(stack))
            .map(|stack| frames::of(&census.program, stack))
            .unwrap_or_default(),
    }
}

/// What they wait for in words. Each in `IO wait` has a descriptor of its own: told is that on which nothing has come or
/// gone for longest.
fn detail(census: &Census, ends: &Ends, members: &[&Goroutine], indices: &[usize]) -> String {
    let Some(first) = members.first() else {
        return String::new();
    };
    let Target::Descriptor(_, writes) = first.target else {
        return wait::describe(census, first);
    };
    let direction = if writes { "write to" } else { "read from" };
    match (ends.idlest(indices), members.len()) {
        (None, 1) => wait::describe(census, first),
        (None, several) => format!("{direction} {several} descriptors"),
        (Some((_, words)), 1) => format!("{direction} {words}"),
        (Some((_, words)), several) => {
            format!("{direction} {several} descriptors, longest {words}")
        }
    }
}

/// The channel that a goroutine waits for, if it is but one.
fn channel(goroutine: &Goroutine) -> Option<u64> {
    match &goroutine.target {
        Target::Channels(channels) => match channels.as_ref() {
            [case] => Some(case.channel),
            _ => None,
        },
        _ => None,
    }
}

fn function(program: &Program, pc: u64) -> Option<String> {
    let table = &program.table;
    table.name(table.find(pc.checked_sub(1)?)?)
}
