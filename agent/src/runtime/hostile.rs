//! Whatever a target's memory and names hold, classification ends, does not panic, and names only live threads.

use proptest::prelude::*;

use super::{Wait, application_frames, classify, fake, identity};
use crate::{model::Kind, proc::memory::Memory};

/// Memory that answers every read from a short pattern, or refuses some.
#[derive(Debug)]
struct Pattern {
    words: Vec<u32>,
    refuses: u64,
}

impl Memory for Pattern {
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        if self.refuses != 0 && address % self.refuses == 1 {
            return false;
        }
        for (offset, byte) in (0u64..).zip(buffer) {
            let at = address.wrapping_add(offset);
            let index = (at / 4) as usize % self.words.len();
            *byte = self.words[index].to_le_bytes()[(at % 4) as usize];
        }
        true
    }
}

fn word() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(2),
        Just(3),
        Just(0x8000_0010),
        Just(u32::MAX),
        Just(1001),
        Just(0x8000_0000 | 1002),
        Just(8),
        Just(4096),
        any::<u32>(),
    ]
}

fn name() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "/lib/libc.so.6!pthread_mutex_lock",
        "!__lll_lock_wait",
        "/lib/libc.so.6!pthread_cond_wait@@GLIBC_2.3.2",
        "/lib/libc.so.6!pthread_rwlock_rdlock",
        "/lib/libc.so.6!pthread_rwlock_wrlock",
        "/lib/libc.so.6!pthread_barrier_wait",
        "/lib/libc.so.6!pthread_join",
        "/lib/ld-musl-x86_64.so.1!__timedwait",
        "/lib/ld-musl-x86_64.so.1!pthread_cond_timedwait",
        "/lib/ld-musl-x86_64.so.1!pthread_barrier_wait",
        "/lib/ld-musl-x86_64.so.1!pthread_join",
        "std::sys::sync::rwlock::futex::RwLock::write_contended",
        "std::sys::sync::thread_parking::futex::Parker::park",
        "parking_lot::raw_mutex::RawMutex::lock_slow",
        "parking_lot::raw_rwlock::RawRwLock::wait_for_readers",
        "parking_lot::condvar::Condvar::wait_until_internal",
        "/usr/lib/libjvm.so!",
        "PyThread_acquire_lock_timed",
        "runtime.futex",
        "__cxa_guard_acquire",
    ]);
    prop_oneof![known.prop_map(str::to_owned), ".*", "[<>:@. h(&]{0,40}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_target_is_survived(
        words in prop::collection::vec(word(), 1..24),
        refuses in prop_oneof![Just(0u64), 1u64..9],
        address in prop_oneof![0u64..256, any::<u64>(), Just(u64::MAX), Just(u64::MAX - 7), Just(0x1000)],
        op in prop_oneof![Just(0u32), Just(128), Just(9), Just(137), Just(393), Just(134), Just(141), any::<u32>()],
        value in word(),
        sp in prop_oneof![Just(0u64), any::<u64>(), Just(u64::MAX - 8)],
        names in prop::collection::vec(name(), 0..6),
        comm in ".{0,20}",
    ) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let frames = fake::frames(&names);
        let memory = Pattern { words, refuses };
        let verdict = classify(&Wait {
            address, op, value, sp,
            frames: &frames,
            comm: &comm,
            memory: &memory,
            thread: &fake::thread,
            dead: &|_| false,
        });
        if let Some(owner) = &verdict.owner {
            prop_assert!((8000..8010).contains(&owner.tid), "{verdict:?}");
        }
        prop_assert!(!verdict.evidence.is_empty());
        prop_assert_eq!(application_frames(&frames).is_empty(), frames.is_empty());
    }

    #[test]
    fn random_memory_alone_is_no_evidence(
        words in prop::collection::vec(any::<u32>(), 16..64),
        value in any::<u32>(),
        private in any::<bool>(),
    ) {
        let verdict = classify(&Wait {
            address: 0x1000,
            op: if private { 128 } else { 0 },
            value,
            sp: 0,
            frames: &[],
            comm: "",
            memory: &Pattern { words, refuses: 0 },
            thread: &fake::thread,
            dead: &|_| false,
        });
        prop_assert_eq!(verdict.kind, Kind::Unknown);
        prop_assert_eq!(verdict.address, 0x1000);
    }

    #[test]
    fn ids_are_printable(module in ".*", offset in any::<u64>()) {
        for id in [
            identity::static_lock(&module, offset, Kind::Mutex),
            identity::wait_site(Kind::Mutex, &[(Some(&module), offset)]),
            identity::shared_lock(Some(&module), "", offset, Kind::Semaphore),
            identity::shared_lock(None, &module, offset, Kind::Semaphore),
        ] {
            prop_assert!(id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");
        }
    }
}
