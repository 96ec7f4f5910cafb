//! Whether what was seen of several processes, one after the other, is true at one moment.
//!
//! That thread A waited for B's lock, and that B waits for A's, is a deadlock only if both are true at once: A could have
//! gone on in between. So at the end everything that a chain can pass from lock to lock is looked at again, all of it
//! together: the threads that wait and hold something, and the locks whose holders wait. Who has not run from before the
//! lock words were read until after still waits, has taken nothing and has let go of nothing.

use std::collections::{HashMap, HashSet};

use super::{beyond, census::Still};
use crate::{
    model::{
        Lock,
        explanation::{Confidence, LockRef},
    },
    report::{
        engine::Engine,
        lock::{Assembled, Wait},
    },
};

/// Locks that are looked at again: about 0.2 ms each. The others are taken as they were.
const MAX_LOCKS: usize = 512;
/// Waiters of a lock through which it is looked at again: one may have gone on.
const WITNESSES: usize = 2;

/// What does not hold any more.
#[derive(Clone, Debug, Default)]
pub struct Stale {
    /// Threads that wait no more for what they waited for.
    pub waits: HashSet<u32>,
    /// Locks that have got another holder, or none.
    pub holds: HashSet<LockRef>,
}

/// A lock whose holder waits for something that is followed: a chain can go on there.
#[derive(Clone, Copy)]
struct Pass {
    lock: LockRef,
    holder: u32,
}

/// Looks again at what chains can pass. `leading` are threads that wait for other processes.
#[must_use]
pub fn confirm(
    near: &Assembled,
    far: &Assembled,
    leading: &HashSet<u32>,
    engine: &mut Engine,
) -> Stale {
    let waits: HashMap<u32, &Wait> = [near, far]
        .into_iter()
        .flat_map(|of| &of.threads)
        .filter(|(_, wait)| wait.steady)
        .map(|(&tid, wait)| (tid, wait))
        .collect();
    let goes_on = |tid: &u32| waits.contains_key(tid) || leading.contains(tid);
    let passes = passes(near, far, goes_on);
    let asked = asked(&passes, &waits);
    let threads: Vec<Still> = asked
        .iter()
        .filter_map(|tid| Still::of(waits.get(tid)?.pid, *tid))
        .collect();
    let again = beyond::assemble(&threads, &HashMap::new(), engine);
    let still_waits = |tid: &u32| {
        let now = again.threads.get(tid).filter(|wait| wait.steady);
        now.map(name) == waits.get(tid).copied().map(name)
    };
    let holders: HashSet<(LockRef, u32)> = holders(&again)
        .map(|(lock, tid)| (lock.name(), tid))
        .collect();
    Stale {
        waits: passes
            .iter()
            .map(|pass| pass.holder)
            .filter(|tid| waits.contains_key(tid) && !still_waits(tid))
            .collect(),
        holds: passes
            .iter()
            .filter(|pass| !holders.contains(&(pass.lock, pass.holder)))
            .map(|pass| pass.lock)
            .collect(),
    }
}

/// Those of other processes first, then those that processes share.
fn passes(near: &Assembled, far: &Assembled, goes_on: impl Fn(&u32) -> bool) -> Vec<Pass> {
    let pass = |(lock, holder): (&Lock, u32)| {
        goes_on(&holder).then(|| Pass {
            lock: lock.name(),
            holder,
        })
    };
    let mut ours: Vec<Pass> = holders(near).filter_map(pass).collect();
    ours.sort_by_key(|pass| !near.places.contains_key(&pass.lock));
    let mut passes: Vec<Pass> = holders(far).filter_map(pass).chain(ours).collect();
    passes.truncate(MAX_LOCKS);
    passes
}

/// The holders, and who waits for them.
fn asked(passes: &[Pass], waits: &HashMap<u32, &Wait>) -> HashSet<u32> {
    let mut waiters: HashMap<LockRef, Vec<u32>> = HashMap::new();
    for (&tid, wait) in waits {
        waiters.entry(name(wait)).or_default().push(tid);
    }
    let mut asked: HashSet<u32> = passes.iter().map(|pass| pass.holder).collect();
    for pass in passes {
        let witnesses = waiters.get(&pass.lock).into_iter().flatten();
        asked.extend(witnesses.take(WITNESSES));
    }
    asked
}

const fn name(wait: &Wait) -> LockRef {
    LockRef {
        pid: wait.pid,
        address: wait.address,
    }
}

fn holders(of: &Assembled) -> impl Iterator<Item = (&Lock, u32)> {
    let locks = of.locks.iter();
    // What other evidence there is cannot be had again.
    locks.filter_map(|lock| {
        let holder = lock.holder.as_ref()?;
        (holder.confidence == Confidence::Exact).then_some((lock, holder.tid))
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        process::{Child, Command, Stdio},
    };

    use super::*;
    use crate::{ingest::census::proc_task, report::waiter};

    /// A program whose thread `waiter` waits for a mutex that its first thread holds, and which says both ids.
    fn program() -> (Child, [u32; 2]) {
        let script = "import ctypes, threading, time\n\
            libc = ctypes.CDLL(None)\n\
            mutex = ctypes.create_string_buffer(64)\n\
            libc.pthread_mutex_lock(mutex)\n\
            def wait():\n\
            \x20   print(threading.get_native_id(), flush=True)\n\
            \x20   libc.pthread_mutex_lock(mutex)\n\
            print(threading.get_native_id(), flush=True)\n\
            threading.Thread(target=wait).start()\n\
            input()\n\
            libc.pthread_mutex_unlock(mutex)\n\
            input()\n";
        let mut child = Command::new("python3")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ids = [0; 2].map(|_: u32| lines.next().unwrap().unwrap().parse().unwrap());
        (child, ids)
    }

    fn await_futex(pid: u32, tid: u32, waits: bool) {
        let is = || {
            let task = proc_task(pid, tid).ok();
            task.and_then(|task| waiter::futex_wait(&task)).is_some()
        };
        while is() != waits {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_hold_that_ended_is_stale_and_one_that_goes_on_is_not() {
        use std::io::Write as _;
        let (mut child, [holder, waiter]) = program();
        let pid = child.id();
        await_futex(pid, waiter, true);
        let mut engine = Engine::default();
        let still = Still::of(pid, waiter).unwrap();
        let far = beyond::assemble([&still], &HashMap::new(), &mut engine);
        let [lock] = far.locks.as_slice() else {
            panic!("{far:?}");
        };
        assert_eq!(lock.holder.as_ref().map(|holder| holder.tid), Some(holder));
        assert!(far.threads.get(&waiter).is_some_and(|wait| wait.steady));
        let near = Assembled::default();
        let leading = HashSet::from([holder]);
        let mut ask = |leading| confirm(&near, &far, leading, &mut engine);
        assert_eq!(ask(&leading).holds, HashSet::new());
        child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        await_futex(pid, waiter, false);
        assert_eq!(ask(&leading).holds, HashSet::from([lock.name()]));
        // Where no chain goes on, nothing is asked.
        assert_eq!(ask(&HashSet::new()).holds, HashSet::new());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
