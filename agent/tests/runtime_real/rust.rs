//! The standard library's locks, in threads of the test itself.

use std::{
    process,
    sync::{Arc, Condvar, Mutex, Once, RwLock, mpsc},
    thread,
    time::Duration,
};

use holdup::{model::Kind, runtime::application_frames};

use super::scene::{ask, frames};

/// Own thread id.
pub fn tid() -> u32 {
    // SAFETY: the call has no arguments and cannot fail.
    let tid = unsafe { libc::gettid() };
    tid.try_into().unwrap()
}

/// Runs `park` in a thread that never ends, and returns its id.
pub fn parked(park: impl FnOnce() + Send + 'static) -> u32 {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        sender.send(tid()).unwrap();
        park();
        thread::sleep(Duration::from_secs(3600));
    });
    let tid = receiver.recv().unwrap();
    thread::sleep(Duration::from_millis(50));
    tid
}

fn leaked<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn address<T: ?Sized>(object: &T) -> u64 {
    std::ptr::from_ref(object).cast::<()>() as u64
}

pub fn check() {
    let mutex: &'static Mutex<u64> = leaked(Mutex::new(7));
    std::mem::forget(mutex.lock());
    let read: &'static RwLock<u8> = leaked(RwLock::new(7));
    std::mem::forget(read.write());
    let write: &'static RwLock<u64> = leaked(RwLock::new(7));
    std::mem::forget(write.write());
    let behind_reader: &'static RwLock<u64> = leaked(RwLock::new(7));
    std::mem::forget(behind_reader.read());
    let condvar: &'static Condvar = leaked(Condvar::new());
    let timed: &'static Condvar = leaked(Condvar::new());
    let once: &'static Once = leaked(Once::new());
    parked(|| once.call_once(|| thread::sleep(Duration::from_secs(3600))));
    let (sender, receiver) = mpsc::channel::<u8>();
    std::mem::forget(sender);
    let joined = Arc::new(thread::spawn(|| thread::sleep(Duration::from_secs(3600))));
    let joined = Arc::into_inner(joined).unwrap();

    let sys = "/app!std::sys::sync";
    let cases = [
        (
            parked(|| drop(mutex.lock())),
            "mutex::futex::Mutex::lock_contended::h0123456789abcdef",
            "std::sync::poison::mutex::Mutex<T>::lock",
            Kind::Mutex,
            address(mutex),
        ),
        (
            parked(|| drop(read.read())),
            "rwlock::futex::RwLock::read_contended",
            "std::sync::poison::rwlock::RwLock<T>::read",
            Kind::RwlockRead,
            address(read),
        ),
        (
            parked(|| drop(write.write())),
            "rwlock::futex::RwLock::write_contended",
            "std::sync::poison::rwlock::RwLock<T>::write",
            Kind::RwlockWrite,
            address(write),
        ),
        (
            parked(|| drop(behind_reader.write())),
            "rwlock::futex::RwLock::write_contended",
            "std::sync::poison::rwlock::RwLock<T>::write",
            Kind::RwlockWrite,
            address(behind_reader),
        ),
        (
            parked(|| drop(condvar.wait(Mutex::new(()).lock().unwrap()))),
            "condvar::futex::Condvar::wait_optional_timeout",
            "std::sync::poison::condvar::Condvar::wait",
            Kind::Condvar,
            address(condvar),
        ),
        (
            parked(|| {
                drop(timed.wait_timeout(Mutex::new(()).lock().unwrap(), Duration::from_secs(99)))
            }),
            "condvar::futex::Condvar::wait_timeout",
            "std::sync::poison::condvar::Condvar::wait_timeout",
            Kind::Condvar,
            address(timed),
        ),
        (
            parked(|| once.call_once(|| ())),
            "once::futex::Once::call",
            "std::sync::once::Once::call_once",
            Kind::Once,
            address(once),
        ),
        (
            parked(thread::park),
            "thread_parking::futex::Parker::park",
            "std::thread::park",
            Kind::Unknown,
            0,
        ),
        (
            parked(move || assert!(receiver.recv().is_ok())),
            "thread_parking::futex::Parker::park",
            "<std::sync::mpmc::list::Channel<T>>::recv",
            Kind::Condvar,
            0,
        ),
    ];
    for (tid, internal, public, kind, lock) in cases {
        let bare = ask::<&str>(process::id(), tid, &[]);
        assert_eq!(bare.kind, Kind::Unknown, "{public}: {bare:?}");
        let stack = [
            "/libc.so.6!syscall".to_owned(),
            format!("{sys}::{internal}"),
            format!("/app!{public}"),
            "/app!cache::refresh".to_owned(),
        ];
        let verdict = ask(process::id(), tid, &stack);
        assert_eq!(
            (verdict.kind, verdict.runtime),
            (kind, Some("rust-std")),
            "{public}: {verdict:?}"
        );
        assert!(
            lock == 0 || verdict.address == lock,
            "{public} at {lock:#x}: {verdict:?}"
        );
        assert_eq!(verdict.owner, None);
        assert_eq!(
            application_frames(&frames(&stack)),
            frames(&["/app!cache::refresh"])
        );
    }

    // Joining is left to the C library.
    let waiter = parked(move || drop(joined.join()));
    let stack = [
        "/libc.so.6!",
        "/libc.so.6!pthread_join",
        "/app!std::sys::thread::unix::Thread::join",
        "/app!std::thread::JoinInner<T>::join",
        "/app!main",
    ];
    for verdict in [
        ask(process::id(), waiter, &stack),
        ask::<&str>(process::id(), waiter, &[]),
    ] {
        assert_eq!(
            (verdict.kind, verdict.runtime),
            (Kind::Join, Some("glibc")),
            "{verdict:?}"
        );
        assert!(verdict.owner.is_some_and(|owner| owner.tid != waiter));
    }
    assert_eq!(application_frames(&frames(&stack)), frames(&["/app!main"]));
}
