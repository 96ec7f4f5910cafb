//! HotSpot: every wait of Java code sleeps on a condition variable of its own thread, so the futex is never the
//! monitor, and only names tell what the thread waits for. Sources: `src/hotspot/os/posix/os_posix.cpp`,
//! `share/runtime/{objectMonitor,mutex,park}.cpp`.

use super::{Runtime, Verdict, Wait, name::Call, posix::Posix};
use crate::model::Kind;

/// HotSpot.
pub(super) struct Jvm;

/// Name in reports.
const NAME: &str = "jvm";
const MODULE: &[&str] = &["libjvm.so"];

/// Beginnings of function names, compared inside libjvm only; the innermost function decides, since a thread that
/// leaves `Object.wait` enters its monitor again from there.
const FUNCTIONS: &[(&str, Kind, &str)] = &[
    (
        "ObjectMonitor::wait",
        Kind::Condvar,
        "called from Object.wait",
    ),
    ("JVM_MonitorWait", Kind::Condvar, "called from Object.wait"),
    ("ObjectMonitor::enter", Kind::Mutex, "enters a Java monitor"),
    (
        "ObjectMonitor::EnterI",
        Kind::Mutex,
        "enters a Java monitor",
    ),
    (
        "ObjectMonitor::ReenterI",
        Kind::Mutex,
        "enters a Java monitor again",
    ),
    ("ObjectMonitor::Enter", Kind::Mutex, "enters a Java monitor"),
    (
        "SharedRuntime::complete_monitor_locking_C",
        Kind::Mutex,
        "enters a Java monitor",
    ),
    (
        "InterpreterRuntime::monitorenter",
        Kind::Mutex,
        "enters a Java monitor",
    ),
    (
        "JavaThread::sleep",
        Kind::Condvar,
        "called from Thread.sleep",
    ),
    (
        "PosixSemaphore::",
        Kind::Runtime,
        "a semaphore of the JVM itself",
    ),
    ("Monitor::", Kind::Runtime, "a lock of the JVM itself"),
    ("Mutex::", Kind::Runtime, "a lock of the JVM itself"),
];

/// Beginnings of the names of threads that HotSpot creates, cut to the 15 bytes the kernel keeps.
const THREADS: &[&str] = &[
    "GC Thread#",
    "G1 Conc#",
    "G1 Main Marker",
    "G1 Refine#",
    "G1 Service",
    "ParGC Thread#",
    "ZDriver",
    "ZWorker#",
    "ZDirector",
    "Shenandoah GC T",
    "VM Thread",
    "VM Periodic Tas",
    "C1 CompilerThre",
    "C2 CompilerThre",
    "Sweeper thread",
    "Signal Dispatch",
    "Reference Handl",
    "Finalizer",
    "Common-Cleaner",
    "Service Thread",
    "Monitor Deflati",
    "Notification Th",
];

impl Runtime for Jvm {
    fn by_calls(&self, wait: &Wait<'_>, calls: &[Call<'_>]) -> Option<Verdict> {
        if !calls.iter().any(|call| call.in_module(MODULE)) {
            return None;
        }
        let address = Posix
            .by_calls(wait, calls)
            .map_or(wait.address, |verdict| verdict.address);
        let known = calls
            .iter()
            .filter(|call| call.in_module(MODULE))
            .find_map(|call| {
                FUNCTIONS
                    .iter()
                    .find(|(prefix, ..)| call.name.starts_with(prefix))
            });
        let (kind, evidence) = match known {
            Some((_, kind, evidence)) => (*kind, *evidence),
            None => (
                Kind::Unknown,
                "LockSupport.park or a JVM without symbols: the thread's own parker",
            ),
        };
        Some(Verdict::new(kind, NAME, address, evidence))
    }

    /// Names are given by programs, so they count only where nothing of an application was seen.
    fn by_comm(&self, wait: &Wait<'_>, calls: &[Call<'_>]) -> Option<Verdict> {
        let nothing_else = wait.frames.len() == calls.len();
        let own = THREADS.iter().any(|name| wait.comm.starts_with(name));
        (own && nothing_else).then(|| {
            Verdict::new(
                Kind::Runtime,
                NAME,
                wait.address,
                format!("thread name {} is the JVM's own", wait.comm),
            )
        })
    }
}
