//! The compiled programs, embedded, and how they are configured at load time.

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader, include_bytes_aligned,
    maps::{Map, MapData},
};
use holdup_abi::config::Config;

#[cfg(target_arch = "x86_64")]
pub(super) static OBJECT: &[u8] =
    include_bytes_aligned!(concat!(env!("HOLDUP_BPF_DIST"), "/holdup-x86_64.bpf.o"));
#[cfg(target_arch = "aarch64")]
pub(super) static OBJECT: &[u8] =
    include_bytes_aligned!(concat!(env!("HOLDUP_BPF_DIST"), "/holdup-aarch64.bpf.o"));

/// Capacities of the kernel side's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Locks that can be told apart at once.
    pub locks: u32,
    /// Threads that waited or woke and still live.
    pub threads: u32,
    /// Ring buffer for samples in bytes: a power of two of at least a page.
    pub ring_bytes: u32,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            locks: 32_768,
            threads: 65_536,
            ring_bytes: 8 << 20,
        }
    }
}

/// Spare room in the hash of locks, so that its per-CPU free lists never run dry before the slots do.
const HASH_SLACK: u32 = 256;

/// Goroutines that can be parked at once, and processes of theirs that can end between two looks.
const GOROUTINES: u32 = 262_144;
const PROCESSES: u32 = 1_024;

/// Elements of the array of threads, which is indexed by the low bits of a thread id.
#[must_use]
pub const fn places(threads: u32) -> u32 {
    threads.next_power_of_two()
}

/// Elements of the array of holds: one for each lock, if they are measured.
#[must_use]
pub const fn holds(config: &Config, capacity: Capacity) -> u32 {
    if config.measure_holds == 1 {
        capacity.locks
    } else {
        1
    }
}

/// Creates the maps and prepares the programs; nothing is attached yet.
///
/// # Errors
/// The kernel refuses a map (privileges, memory).
pub fn load(config: &Config, capacity: Capacity, btf: Option<&Btf>) -> Result<Ebpf, EbpfError> {
    let places = places(capacity.threads);
    let config = Config {
        thread_mask: places - 1,
        ..*config
    };
    let goroutines = config.goroutines == 1;
    EbpfLoader::new()
        .btf(btf)
        .override_global("CONFIG", &config, true)
        .map_max_entries("LOCKS", capacity.locks)
        .map_max_entries("HOLDS", holds(&config, capacity))
        .map_max_entries("FREE_SLOTS", capacity.locks)
        .map_max_entries("LOCK_SLOTS", capacity.locks.saturating_add(HASH_SLACK))
        .map_max_entries("THREADS", places)
        .map_max_entries("THREAD_OWNERS", capacity.threads)
        .map_max_entries("MORE_THREADS", capacity.threads)
        .map_max_entries("SAMPLES", capacity.ring_bytes)
        .map_max_entries("GO_WAITS", if goroutines { GOROUTINES } else { 1 })
        .map_max_entries("GO_ENDED", if goroutines { PROCESSES } else { 1 })
        .load(OBJECT)
}

/// A map of a loaded object, whatever its type; nothing for types that the object does not have.
#[must_use]
pub const fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::PerCpuHashMap(data)
        | Map::Queue(data)
        | Map::RingBuf(data)
        | Map::StackTraceMap(data) => Some(data),
        _ => None,
    }
}
