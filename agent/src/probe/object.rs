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
    /// Calls of lock functions are followed.
    pub entry: bool,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            locks: 32_768,
            threads: 65_536,
            ring_bytes: 8 << 20,
            entry: false,
        }
    }
}

/// Spare room in the hash of locks, so that its per-CPU free lists never run dry before the slots do.
const HASH_SLACK: u32 = 256;

/// Locks whose calls can be followed, if that is asked for.
const ENTRY_LOCKS: u32 = 16_384;
/// Maps of those calls, with their elements.
const ENTRY_MAPS: &[(&str, u32)] = &[
    ("ENTRY_SLOTS", ENTRY_LOCKS + HASH_SLACK),
    ("ENTRY_LOCKS", ENTRY_LOCKS),
    ("ENTRY_FREE", ENTRY_LOCKS),
    ("ENTRY_THREADS", 4_096),
    ("ENTRY_EDGES", 32_768),
];

/// Elements of the array of locks whose calls are followed.
#[must_use]
pub const fn entry_locks(capacity: Capacity) -> u32 {
    if capacity.entry { ENTRY_LOCKS } else { 1 }
}

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

/// Elements of what is kept for probes on contended entry points: as many as `threads`, if there are any.
#[must_use]
pub const fn notes(config: &Config, threads: u32) -> u32 {
    if config.slow == 1 { threads } else { 1 }
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
    let mut loader = EbpfLoader::new();
    for &(name, elements) in ENTRY_MAPS {
        loader.map_max_entries(name, if capacity.entry { elements } else { 1 });
    }
    let goroutines = config.goroutines == 1;
    loader
        .btf(btf)
        .override_global("CONFIG", &config, true)
        .map_max_entries("LOCKS", capacity.locks)
        .map_max_entries("HOLDS", holds(&config, capacity))
        .map_max_entries("FREE_SLOTS", capacity.locks)
        .map_max_entries("LOCK_SLOTS", capacity.locks.saturating_add(HASH_SLACK))
        .map_max_entries("THREADS", places)
        .map_max_entries("THREAD_OWNERS", capacity.threads)
        .map_max_entries("MORE_THREADS", capacity.threads)
        .map_max_entries("NOTES", notes(&config, places))
        .map_max_entries("OWN_WORDS", notes(&config, capacity.threads))
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
