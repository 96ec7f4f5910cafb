//! The uprobes.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use holdup_abi::entry::{
    ASKED,
    call::{ACQUIRE, ACTION, ARGUMENT_SHIFT, DESTROY, FORK, POST, RELEASE, SIGNAL, WAIT},
};

use super::{
    ask, condvar, context, life, lock,
    place::{self, Call, NONE, at, now_ns},
    release,
};
use crate::{hit::hit, maps::ENTRY_THREADS};

/// A lock function is called.
#[uprobe]
pub fn entry_call(context: ProbeContext) -> u32 {
    let now_ns = now_ns();
    let cookie = hit(&context);
    let what = cookie.own;
    let call = Call {
        what,
        address: context::argument(&context, what >> ARGUMENT_SHIFT & 0xf),
        tid: bpf_get_current_pid_tgid() as u32,
        now_ns,
        regs: context::caller(&context, cookie.pushed_words),
    };
    let Some(thread) = place::thread(call.tid) else {
        return 0;
    };
    // SAFETY: a live map value that only the current thread's events write.
    let thread = unsafe { &mut *thread };
    match what & ACTION {
        ACQUIRE => ask::begin(thread, &call),
        RELEASE => release::begin(thread, &call),
        DESTROY => lock::destroy(thread, &call),
        WAIT => condvar::begin(thread, &call, context::argument(&context, 1)),
        SIGNAL => condvar::signal(thread, &call),
        POST => release::post(thread, &call),
        FORK => life::fork(thread, &call),
        _ => {}
    }
    0
}

/// A lock function has returned.
#[uretprobe]
pub fn entry_return(context: RetProbeContext) -> u32 {
    hit(&context);
    let tid = bpf_get_current_pid_tgid() as u32;
    let Some(thread) = ENTRY_THREADS.get_ptr_mut(tid) else {
        return 0;
    };
    // SAFETY: as above.
    let thread = unsafe { &mut *thread };
    let (sp, result) = context::returned(&context);
    let index = place::find(thread, |place| place.state == ASKED && place.frame == sp);
    if index == NONE {
        return 0;
    }
    if at(thread, index).call & ACTION == WAIT {
        condvar::returned(thread, index, tid, result);
    } else {
        ask::returned(thread, index, tid, result);
    }
    0
}
