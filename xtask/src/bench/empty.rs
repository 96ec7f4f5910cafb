//! The least that a tracer on the futex system calls can cost: a program of two instructions on each of their
//! tracepoints. What a profiler costs beyond that is its own doing.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};

/// The tracepoints that the agent attaches to when the kernel refuses fentry.
const TRACEPOINTS: &[&str] = &["sys_enter_futex", "sys_exit_futex"];

/// `r0 = 0; exit`, see `struct bpf_insn` in `linux/bpf.h`.
const PROGRAM: [u64; 2] = [0xb7, 0x95];

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_TYPE_TRACEPOINT: u32 = 5;
const PERF_TYPE_TRACEPOINT: u64 = 2;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
const PERF_EVENT_IOC_ENABLE: libc::c_ulong = 0x2400;
const PERF_EVENT_IOC_SET_BPF: libc::c_ulong = 0x4004_2408;

/// The part of `union bpf_attr` that loading needs.
#[repr(C)]
struct ProgramLoad {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// Attached empty programs; dropping it detaches them.
pub struct Attached {
    _events: Vec<OwnedFd>,
    _program: OwnedFd,
}

/// Attaches them on all processors, for all processes.
pub fn attach() -> Result<Attached> {
    let program = load().context("cannot load an empty program")?;
    let mut events = Vec::new();
    for name in TRACEPOINTS {
        let path = format!("/sys/kernel/tracing/events/syscalls/{name}/id");
        let id = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let id = id.trim().parse().with_context(|| path)?;
        events.push(attach_one(&program, id).with_context(|| format!("cannot attach to {name}"))?);
    }
    Ok(Attached {
        _events: events,
        _program: program,
    })
}

fn load() -> io::Result<OwnedFd> {
    let attributes = ProgramLoad {
        program_type: BPF_PROG_TYPE_TRACEPOINT,
        instruction_count: 2,
        instructions: PROGRAM.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the structure is a prefix of `union bpf_attr` of the length given, and its pointers are to constants of
    // the lengths given.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const attributes,
            size_of::<ProgramLoad>(),
        )
    };
    owned(fd)
}

fn attach_one(program: &OwnedFd, id: u64) -> io::Result<OwnedFd> {
    // `struct perf_event_attr` of its first version: type and size, config, sample period, and zeros.
    let attributes: [u64; 8] = [PERF_TYPE_TRACEPOINT | 64 << 32, id, 1, 0, 0, 0, 0, 0];
    // SAFETY: the array is as long as it says in its first word. A tracepoint's BPF program runs on all processors
    // whichever one the event is opened on.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            attributes.as_ptr(),
            -1,
            0,
            -1,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    let event = owned(fd)?;
    // SAFETY: both requests take an integer.
    unsafe {
        check(libc::ioctl(
            event.as_raw_fd(),
            PERF_EVENT_IOC_SET_BPF,
            program.as_raw_fd(),
        ))?;
        check(libc::ioctl(event.as_raw_fd(), PERF_EVENT_IOC_ENABLE, 0))?;
    }
    Ok(event)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = libc::c_int::try_from(result).unwrap_or(-1);
    check(fd)?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
