//! `parking_lot`'s locks, in threads of the test itself.

use std::{process, thread, time::Duration};

use holdup::{model::Kind, runtime::application_frames};
use parking_lot::{Condvar, Mutex, Once, OnceState, RwLock};

use super::{
    rust::parked,
    scene::{ask, frames},
};

fn leaked<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn address<T: ?Sized>(object: &T) -> u64 {
    std::ptr::from_ref(object).cast::<()>() as u64
}

pub fn check() {
    let mutex: &'static Mutex<u64> = leaked(Mutex::new(7));
    std::mem::forget(mutex.lock());
    let read: &'static RwLock<u64> = leaked(RwLock::new(7));
    std::mem::forget(read.write());
    let write: &'static RwLock<u64> = leaked(RwLock::new(7));
    std::mem::forget(write.write());
    let behind_reader: &'static RwLock<u64> = leaked(RwLock::new(7));
    std::mem::forget(behind_reader.read());
    let condvar: &'static Condvar = leaked(Condvar::new());
    let once: &'static Once = leaked(Once::new());
    parked(|| once.call_once(|| thread::sleep(Duration::from_secs(3600))));
    assert_eq!(once.state(), OnceState::InProgress);

    let cases = [
        (
            parked(|| drop(mutex.lock())),
            "raw_mutex::RawMutex::lock_slow",
            Kind::Mutex,
            address(mutex),
        ),
        // A second waiter has a neighbour in the queue.
        (
            parked(|| drop(mutex.lock())),
            "raw_mutex::RawMutex::lock_slow",
            Kind::Mutex,
            address(mutex),
        ),
        (
            parked(|| drop(read.read())),
            "raw_rwlock::RawRwLock::lock_shared_slow",
            Kind::RwlockRead,
            address(read),
        ),
        (
            parked(|| drop(write.write())),
            "raw_rwlock::RawRwLock::lock_exclusive_slow",
            Kind::RwlockWrite,
            address(write),
        ),
        (
            parked(|| drop(behind_reader.write())),
            "raw_rwlock::RawRwLock::wait_for_readers",
            Kind::RwlockWrite,
            address(behind_reader),
        ),
        (
            parked(|| condvar.wait(&mut Mutex::new(()).lock())),
            "condvar::Condvar::wait_until_internal",
            Kind::Condvar,
            address(condvar),
        ),
        (
            parked(|| once.call_once(|| ())),
            "once::Once::call_once_slow",
            Kind::Once,
            address(once),
        ),
    ];
    for (tid, internal, kind, lock) in cases {
        let bare = ask::<&str>(process::id(), tid, &[]);
        assert_eq!(bare.kind, Kind::Unknown, "{internal}: {bare:?}");
        let stack = [
            "/libc.so.6!syscall".to_owned(),
            "/app!<parking_lot_core::thread_parker::imp::ThreadParker as parking_lot_core::thread_parker::ThreadParkerT>::park".to_owned(),
            format!("/app!parking_lot::{internal}"),
            "/app!lock_api::mutex::Mutex<R,T>::lock".to_owned(),
            "/app!cache::refresh".to_owned(),
        ];
        let verdict = ask(process::id(), tid, &stack);
        assert_eq!(
            (verdict.kind, verdict.runtime),
            (kind, Some("parking_lot")),
            "{verdict:?}"
        );
        assert_eq!(verdict.address, lock, "{internal}: {verdict:?}");
        assert_eq!(verdict.owner, None);
        assert_eq!(
            application_frames(&frames(&stack)),
            frames(&["/app!cache::refresh"])
        );
    }
}
