//! Calls that are wrong, in words.

use std::collections::BTreeMap;

use super::{
    MAX_MISTAKES,
    names::{self, Names},
};
use crate::{
    ingest::entry::{EntryData, Mistake, Stack, What},
    model::entry::{self, MistakeKind},
    sink::units,
    symbol::Space,
};

/// What a mistake is about, whoever makes it.
struct Facts<'d> {
    kind: MistakeKind,
    lock: u32,
    condvar: Option<u32>,
    tid: u32,
    /// Name of the thread; `None` when it is to be looked up.
    comm: Option<&'d str>,
    space: Space,
    stack: &'d Stack,
    cause: &'d Stack,
    since_ns: u64,
}

impl<'d> Facts<'d> {
    fn of(mistake: &'d Mistake) -> Self {
        let facts = |kind, lock, condvar| Self {
            kind,
            lock,
            condvar,
            tid: mistake.tid,
            comm: Some(&mistake.comm),
            space: mistake.space,
            stack: &mistake.stack,
            cause: &mistake.acquired,
            since_ns: mistake.at_ns,
        };
        match &mistake.what {
            &What::WaitHolding { held, condvar } => {
                facts(MistakeKind::WaitWithLockHeld, held, Some(condvar))
            }
            &What::ForkHolding { held } => facts(MistakeKind::HeldAcrossFork, held, None),
            &What::ExitHolding { held } => facts(MistakeKind::HeldAtThreadExit, held, None),
            // Whoever waits is in trouble, and not who signalled.
            What::LostWakeup {
                condvar,
                waiter_tid,
                waits_since_ns,
                waits,
            } => Self {
                tid: *waiter_tid,
                comm: None,
                stack: waits,
                cause: &mistake.stack,
                since_ns: *waits_since_ns,
                ..facts(MistakeKind::LostWakeupSuspect, *condvar, None)
            },
        }
    }
}

/// Mistakes, each place once, and how many are left out.
pub fn mistakes(
    data: &EntryData,
    names: &mut Names<'_>,
    now_ns: u64,
) -> (Vec<entry::Mistake>, u64) {
    let mut seen: BTreeMap<_, usize> = BTreeMap::new();
    let mut described: Vec<entry::Mistake> = Vec::new();
    let mut left_out = 0;
    for mistake in &data.mistakes {
        let facts = Facts::of(mistake);
        let place: Vec<u64> = facts.stack.iter().map(|frame| frame.address).collect();
        let key = (facts.kind, facts.lock, facts.condvar, place);
        let known = seen.get(&key).and_then(|&index| described.get_mut(index));
        if let Some(known) = known {
            known.count += 1;
        } else if described.len() >= MAX_MISTAKES {
            left_out += 1;
        } else if let Some(new) = describe(&facts, names, now_ns) {
            seen.insert(key, described.len());
            described.push(new);
        }
    }
    (described, left_out)
}

fn describe(facts: &Facts<'_>, names: &mut Names<'_>, now_ns: u64) -> Option<entry::Mistake> {
    let lock = names.lock(facts.lock)?.lock.clone();
    let condvar = match facts.condvar {
        Some(slot) => Some(names.lock(slot)?.lock.clone()),
        None => None,
    };
    let comm = facts.comm.map(str::to_owned);
    let comm = comm.unwrap_or_else(|| names.comm(facts.space.pid, facts.tid));
    let frames = names.frames(facts.space, facts.stack);
    let cause_frames = names.frames(facts.space, facts.cause);
    let at = |frames| names::place(frames).map_or(String::new(), |place| format!(" at {place}"));
    let called = match comm.as_str() {
        "" => "a thread that is gone",
        comm => comm,
    };
    let (who, here, cause) = (
        format!("{called} ({})", facts.tid),
        at(&frames),
        at(&cause_frames),
    );
    let taken = match cause.as_str() {
        "" => String::new(),
        cause => format!(", taken{cause}"),
    };
    let name = &lock.name;
    let text = match facts.kind {
        MistakeKind::WaitWithLockHeld => {
            let condvar = condvar.as_ref().map_or("", |condvar| &condvar.name);
            format!(
                "{who} waits on {condvar}{here} with {name} held{taken}: who needs it to get to the signal cannot come"
            )
        }
        MistakeKind::LostWakeupSuspect => {
            let age = units::duration(now_ns.saturating_sub(facts.since_ns));
            format!(
                "{who} has waited on {name}{here} for {age}: the last signal{cause} came before, when nobody waited"
            )
        }
        MistakeKind::HeldAcrossFork => format!(
            "{who} forked{here} with {name} held{taken}: nobody will release it in the child"
        ),
        MistakeKind::HeldAtThreadExit => {
            format!("{who} ended with {name} held{taken}: nobody will release it")
        }
    };
    Some(entry::Mistake {
        kind: facts.kind,
        pid: facts.space.pid,
        tid: facts.tid,
        comm,
        lock,
        condvar,
        count: 1,
        frames,
        cause_frames,
        text,
    })
}
