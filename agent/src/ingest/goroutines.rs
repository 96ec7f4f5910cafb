//! Goroutines that are parked, as the kernel side has them on record, and those whose process ended meanwhile.

use std::{collections::HashMap, io};

use aya::{
    Ebpf,
    maps::{HashMap as BpfHashMap, Map, MapData, MapError},
};
use holdup_abi::{
    golang::{Goroutine, Wait},
    lock::LockKey,
};

use super::{batch, clock::monotonic_ns, locks::LockTable};

/// Waits by process id and address of the goroutine's record.
pub type Waits = HashMap<(u32, u64), Wait>;

/// Table of parked goroutines, and of when processes ended.
const WAITS: &str = "GO_WAITS";
const ENDED: &str = "GO_ENDED";

/// Reads all waits that go on.
///
/// # Errors
/// The table cannot be read.
pub fn waits(ebpf: &Ebpf) -> io::Result<Waits> {
    let Some(Map::HashMap(map)) = ebpf.map(WAITS) else {
        return Err(io::Error::other(WAITS));
    };
    let mut waits = Waits::new();
    batch::pairs(map.fd(), |goroutine: &Goroutine, wait: &Wait| {
        waits.insert((goroutine.tgid, goroutine.g), *wait);
    })?;
    Ok(waits)
}

/// Accounts the waits of goroutines whose process is gone, or has become another program: nobody will wake them.
/// `waits` were read before it was asked who `lives`.
///
/// # Errors
/// The table cannot be written.
pub fn settle(
    ebpf: &mut Ebpf,
    locks: &LockTable,
    waits: &Waits,
    lives: impl Fn(&LockKey) -> bool,
) -> io::Result<()> {
    let gone: Vec<_> = waits.iter().filter(|(_, wait)| !lives(&wait.key)).collect();
    let mut ended: HashMap<u32, u64> = HashMap::new();
    if let (false, Some(Map::LruHashMap(map))) = (gone.is_empty(), ebpf.map(ENDED)) {
        batch::pairs(map.fd(), |pid: &u32, at_ns: &u64| {
            ended.insert(*pid, *at_ns);
        })?;
    }
    let now_ns = monotonic_ns();
    let map = ebpf.map_mut(WAITS).ok_or(io::ErrorKind::NotFound)?;
    let mut map: BpfHashMap<&mut MapData, Goroutine, Wait> =
        map.try_into().map_err(io::Error::other)?;
    for (&(tgid, g), wait) in gone {
        let goroutine = Goroutine {
            g,
            tgid,
            padding: 0,
        };
        match map.remove(&goroutine) {
            Ok(()) => {}
            Err(MapError::KeyNotFound) => continue,
            Err(error) => return Err(io::Error::other(error)),
        }
        let at_ns = ended.get(&tgid).copied().unwrap_or(now_ns);
        locks.interrupt(wait.slot, &wait.key, at_ns.saturating_sub(wait.since_ns));
    }
    Ok(())
}
