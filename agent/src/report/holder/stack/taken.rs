//! Where a thread that waits took the lock that it holds already, as far as its stack and the code tell: in a function
//! that is still on its stack, before the call that it is in, a call of what takes such locks, with the lock's address as
//! it stands in the code. That is so for locks in static storage only, and on x86-64; elsewhere nothing is said.

use std::collections::HashMap;

use super::calls::{self, Target};
use crate::{
    model::{Lock, RawFrame, explanation::LockRef},
    proc::memory::{Memory as _, Process},
    report::{lock::Assembled, name, stacks::RawStack},
    runtime,
    symbol::{Space, Symbols},
};

/// Locks whose holders are looked at.
const MAX_LOCKS: usize = 64;
/// Frames of a stack whose functions are looked at.
const MAX_FRAMES: usize = 16;
/// Code between the instruction that has the address and the call.
const MAX_APART: usize = 48;

/// By lock: where its holder took it.
#[must_use]
pub fn sites(assembled: &Assembled, symbols: &mut Symbols) -> HashMap<LockRef, String> {
    let mut stacks: HashMap<u32, (Space, &RawStack)> = HashMap::new();
    for parts in assembled.parts.values() {
        let own = parts.waiters.iter();
        stacks.extend(own.map(|waiter| (waiter.tid, (parts.space, &waiter.stack))));
    }
    let held = assembled.locks.iter().filter_map(|lock| {
        let holder = lock.holder.as_ref().filter(|_| lock.waiters > 0)?;
        let &(space, stack) = stacks.get(&holder.tid)?;
        (space.pid == lock.pid && holder.pid.is_none_or(|pid| pid == lock.pid))
            .then_some((lock, space, stack))
    });
    held.take(MAX_LOCKS)
        .filter_map(|(lock, space, stack)| {
            let targets = targets(lock, assembled, space);
            let site = site(space, stack, lock.address, &targets, symbols)?;
            Some((lock.name(), site))
        })
        .collect()
}

/// What the waiters of a lock call, from the lock's machinery outwards.
fn targets(lock: &Lock, assembled: &Assembled, space: Space) -> Vec<Target> {
    let parts = assembled.parts.get(&(lock.name(), lock.kind));
    let waiter = parts.and_then(|parts| parts.waiters.first());
    let frames = waiter.into_iter().flat_map(|waiter| waiter.stack.iter());
    frames
        .take(MAX_FRAMES)
        .filter_map(|frame| calls::target(space, frame))
        .collect()
}

fn site(
    space: Space,
    stack: &[RawFrame],
    lock: u64,
    targets: &[Target],
    symbols: &mut Symbols,
) -> Option<String> {
    let certain = stack.iter().filter(|frame| !frame.guessed);
    certain.take(MAX_FRAMES).find_map(|frame| {
        let (start, code) = before(space, frame.address, symbols)?;
        let own = calls::target(space, frame);
        let call = last_call(start, &code, lock, |target| {
            own == Some(target) || targets.contains(&target)
        })?;
        let frame = RawFrame {
            address: call,
            guessed: false,
        };
        let frames = symbols.symbolize(space, &[frame]);
        runtime::application_frames(&frames)
            .first()
            .map(|frame| format!("{}, inferred", name::place(frame)))
    })
}

/// The code of the function from its start up to the call that is to return to `address` + 1.
fn before(space: Space, address: u64, symbols: &mut Symbols) -> Option<(u64, Vec<u8>)> {
    let (_, offset) = calls::function(space, address, symbols)?;
    let length = usize::try_from(offset.min(calls::MAX_BEFORE)).ok()?;
    let start = address.checked_sub(u64::try_from(length).ok()?)?;
    let mut code = vec![0; length.saturating_sub(calls::LONGEST - 1)];
    Process { pid: space.pid }
        .read(start, &mut code)
        .then_some((start, code))
}

/// The last byte of the last call in `code` that `takes` and is given `lock`.
fn last_call(start: u64, code: &[u8], lock: u64, takes: impl Fn(Target) -> bool) -> Option<u64> {
    let at = |index: usize| start.checked_add(u64::try_from(index).ok()?);
    let mut last = None;
    for index in 0..code.len() {
        let Some(length) = loads(at(index)?, code.get(index..)?, lock) else {
            continue;
        };
        // The next call is the one that is given it.
        let next = index + length;
        let found = (next..(next + MAX_APART).min(code.len())).find_map(|call| {
            let (target, length) = calls::decode(at(call)?, code.get(call..)?)?;
            Some((target, call + length - 1))
        });
        if let Some((target, end)) = found
            && takes(target)
        {
            last = at(end);
        }
    }
    last
}

/// Length of an instruction at the beginning of `code` that loads `address`: `lea rel32(%rip), reg`, `mov $imm32, %edi`.
#[cfg(target_arch = "x86_64")]
fn loads(at: u64, code: &[u8], address: u64) -> Option<usize> {
    let (loaded, length) = match code {
        [0x48 | 0x4c, 0x8d, mode, rest @ ..] if mode & 0xc7 == 0x05 => {
            let relative = i64::from(i32::from_le_bytes(*rest.first_chunk()?));
            (at.checked_add(7)?.checked_add_signed(relative)?, 7)
        }
        [0xbf, rest @ ..] => (u64::from(u32::from_le_bytes(*rest.first_chunk()?)), 5),
        _ => return None,
    };
    (loaded == address).then_some(length)
}

/// Not known here.
#[cfg(not(target_arch = "x86_64"))]
const fn loads(_at: u64, _code: &[u8], _address: u64) -> Option<usize> {
    None
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    const START: u64 = 0x1000;
    const LOCK: u64 = 0x4000;
    const TAKE: u64 = 0x900;
    const GIVE: u64 = 0x910;

    /// `lea LOCK(%rip), %rdi; call target`, at the end of `code`.
    fn call(code: &mut Vec<u8>, lock: u64, target: u64) {
        let at = |code: &Vec<u8>| START + code.len() as u64;
        code.extend([0x48, 0x8d, 0x3d]);
        code.extend((lock.wrapping_sub(at(code) + 4) as u32).to_le_bytes());
        code.push(0xe8);
        code.extend((target.wrapping_sub(at(code) + 4) as u32).to_le_bytes());
    }

    #[test]
    fn the_last_call_that_takes_it() {
        let mut code = vec![0x90; 3];
        call(&mut code, LOCK, TAKE);
        let taken = START + code.len() as u64 - 1;
        call(&mut code, LOCK + 64, TAKE);
        call(&mut code, LOCK, GIVE);
        let take = |target| target == Target::Code(TAKE);
        assert_eq!(last_call(START, &code, LOCK, take), Some(taken));
        assert_eq!(last_call(START, &code, LOCK + 8, take), None);
        assert_eq!(last_call(START, &code, LOCK, |_| false), None);
        for end in 0..code.len() {
            let _ = last_call(u64::MAX - 4, &code[..end], LOCK, take);
        }
    }
}
