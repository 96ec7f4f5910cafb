//! Which frames belong to a lock and which to the application that takes it.

use super::{
    name::{Call, base_name},
    pool, posix, python,
};
use crate::model::Frame;

/// Frames of a wait that are looked at for machinery; deeper ones belong to the application.
const MAX_MACHINERY: usize = 64;

/// Files that hold nothing but libraries which applications lock through.
const MODULES: &[&str] = &[
    "libc.so",
    "libstdc++.so",
    "libc++.so",
    "libjvm.so",
    "librt-2",
    "librt.so",
    "[vdso]",
    "linux-vdso",
];

/// Beginnings of function names that are a lock's own machinery, compared with the cleaned name.
const FUNCTIONS: &[&str] = &[
    // Rust
    "std::sys::",
    "std::sys_common::",
    "std::sync::",
    "std::thread::park",
    "std::thread::JoinHandle",
    "std::thread::JoinInner",
    "std::thread::join_handle::",
    "std::thread::lifecycle::JoinInner",
    "std::thread::scope",
    "std::thread::thread::Thread::park",
    "std::thread::Thread::park",
    "std::thread::current::",
    "std::thread::Builder::",
    "std::io::stdio::",
    "parking_lot::",
    "parking_lot_core::",
    "lock_api::",
    "crossbeam_channel::",
    "crossbeam_utils::sync::",
    "once_cell::",
    "core::ptr::drop_in_place<",
    "core::mem::drop",
    "core::sync::atomic::",
    "core::ops::function::",
    "core::cell::once::",
    // C++
    "std::mutex::",
    "std::timed_mutex::",
    "std::recursive_mutex::",
    "std::recursive_timed_mutex::",
    "std::shared_mutex::",
    "std::shared_timed_mutex::",
    "std::__shared_mutex_pthread::",
    "std::__shared_timed_mutex_base::",
    "std::__timed_mutex_impl",
    "std::unique_lock<",
    "std::lock_guard<",
    "std::scoped_lock<",
    "std::shared_lock<",
    "std::lock<",
    "std::__detail::__try_lock_impl",
    "std::__detail::__lock_impl",
    "std::condition_variable",
    "std::_V2::condition_variable",
    "std::__condvar::",
    "std::thread::join()",
    "std::jthread::join()",
    "std::call_once<",
    "std::once_flag::",
    "std::counting_semaphore<",
    "std::__atomic_semaphore::",
    "std::__semaphore_impl::",
    "std::latch::",
    "std::barrier<",
    "std::__tree_barrier",
    "std::__atomic_futex_unsigned",
    "std::__atomic_wait_address",
    "std::__atomic_base<",
    "std::__future_base::",
    "std::__basic_future<",
    "std::future<",
    "std::shared_future<",
    "std::atomic<",
    "std::atomic_flag::",
    "std::__detail::__platform_wait",
    "std::__detail::__waiter",
    "std::__detail::__wait_impl",
    "std::__glibcxx_rwlock_",
    "__gthread_",
    "__gnu_cxx::__mutex",
    "__cxa_guard_acquire",
    // Go
    "runtime.",
    "sync.(*",
    "sync.runtime_",
    "internal/sync.",
    "internal/poll.",
    "internal/runtime/",
    "os.(*File).",
    "syscall.",
    "net.(*netFD).",
    "net.(*conn).",
    "net.(*TCPConn).",
    "time.Sleep",
    // CPython
    "PyThread_acquire_lock",
    "acquire_timed",
    "lock_PyThread_acquire_lock",
    "rlock_acquire",
    "_queue_SimpleQueue_get",
    "take_gil",
    "PyEval_RestoreThread",
    "PyEval_AcquireThread",
    "PyEval_AcquireLock",
    "_PyMutex_Lock",
    "PyMutex_Lock",
    "_PyRecursiveMutex_Lock",
    "_PyParkingLot_Park",
    "_PySemaphore_",
    "_PySemaphore_Wait",
    "_PyEvent_",
    "PyEvent_Wait",
    "ThreadHandle_join",
    // HotSpot, where it is linked statically
    "os::PlatformEvent::park",
    "os::PlatformMonitor::",
    "PlatformEvent::park",
    "PlatformMonitor::",
    "PosixSemaphore::",
    "ObjectMonitor::",
    "Parker::park",
    "Unsafe_Park",
    "JVM_MonitorWait",
    // Java methods and stubs of HotSpot, named by a perf map
    "jdk.internal.misc.Unsafe.park",
    "java.util.concurrent.locks.",
    "java.lang.Object.wait",
    "java.lang.Thread.sleep",
    "java.lang.Thread.join",
    "_complete_monitor_locking_Java",
    // Go
    "runtime.",
];

/// C functions between the primitive and the system call, without leading underscores, as exact names.
const C_INTERNALS: &[&str] = &[
    "futex_wait",
    "futex_wait_simple",
    "futex_wait_cancelable",
    "futex_lock_pi",
    "futex_clocklock",
    "futex_abstimed_wait",
    "futex_abstimed_wait_cancelable",
    "futex_abstimed_wait_common",
    "lll_mutex_lock_optimized",
    "futex4",
    "futex4_cp",
    "futexwait",
    "timedwait",
    "timedwait_cp",
    "syscall",
    "syscall_cp",
    "syscall_cp_c",
    "syscall_cp_asm",
    "syscall_cancel",
    "internal_syscall_cancel",
    "syscall_cancel_arch",
    "pthread_mutex_timedlock_pi",
    "pthread_mutex_lock_pi",
    "gthread_mutex_lock",
    "futex_wake",
    "lll_lock_wake",
    "lll_lock_wake_private",
    "wake",
];

/// C functions that let go of a primitive, likewise.
const C_RELEASES: &[&str] = &[
    "pthread_mutex_unlock",
    "pthread_mutex_unlock_full",
    "pthread_mutex_unlock_usercnt",
    "pthread_rwlock_unlock",
    "pthread_rwlock_rdunlock",
    "pthread_rwlock_wrunlock",
    "pthread_cond_signal",
    "pthread_cond_broadcast",
    "sem_post",
    "new_sem_post",
    "mtx_unlock",
];

/// Frames with the lock's own machinery stripped, so that the first is what a user calls "where in the code". The whole
/// stack when it is all machinery: a runtime's own thread, or a stack that could not be followed further.
#[must_use]
pub fn application_frames(frames: &[Frame]) -> &[Frame] {
    let machinery = frames
        .iter()
        .take_while(|frame| is_machinery(frame))
        .count();
    match frames.get(machinery..) {
        Some(rest) if !rest.is_empty() => rest,
        _ => frames,
    }
}

/// The machinery alone, which is what classification looks at.
pub(super) fn calls(frames: &[Frame]) -> Vec<Call<'_>> {
    frames
        .iter()
        .take(MAX_MACHINERY)
        .take_while(|frame| is_machinery(frame))
        .map(Call::of)
        .collect()
}

fn is_machinery(frame: &Frame) -> bool {
    let module = frame.module.as_deref().map_or("", base_name);
    let in_module = |prefixes: &[&str]| prefixes.iter().any(|prefix| module.starts_with(prefix));
    if in_module(posix::GLIBC)
        || in_module(posix::MUSL)
        || in_module(MODULES)
        || in_module(python::QUEUE_MODULE)
    {
        return true;
    }
    let call = Call::of(frame);
    if call.name.is_empty() {
        return false;
    }
    if FUNCTIONS.iter().any(|prefix| call.name.starts_with(prefix)) || pool::is_idle(call.name) {
        return true;
    }
    if posix::kind(&call).is_some() {
        return true;
    }
    // An application's own function called `timedwait` is no machinery: the C library's have underscores before the
    // name.
    let name = posix::without_width(call.c_name());
    C_INTERNALS.contains(&name)
        && (call.name.starts_with('_') || call.name.starts_with("futex") || call.name == "syscall")
        || C_RELEASES.contains(&name)
        || matches!(call.name, "__wait" | "__lock" | "__lockfile" | "sccp")
}
