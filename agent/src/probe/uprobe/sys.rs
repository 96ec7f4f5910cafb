//! The system calls for uprobes that aya does not have: programs for many places at once, and links with a cookie.
//!
//! Source: `union bpf_attr` in `include/uapi/linux/bpf.h`, `struct perf_event_attr` in `include/uapi/linux/perf_event.h`.

use std::{
    ffi::CStr,
    fs, io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use aya_obj::generated::{bpf_attach_type, bpf_cmd, bpf_insn, bpf_prog_type};

/// `BPF_F_UPROBE_MULTI_RETURN`.
const MULTI_RETURN: u32 = 1;
/// Where the kernel says how a uprobe is asked for.
const PMU: &str = "/sys/bus/event_source/devices/uprobe";

/// Loads a program that can be attached to many places in one call. The verifier's log is not asked for: who fails here
/// loads the ordinary kind next and gets it there.
///
/// # Minimum kernel version
/// 6.6
pub fn load_multi(instructions: &[bpf_insn], license: &CStr, name: &str) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        kind: u32,
        instruction_count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
        name: [u8; 16],
        interface: u32,
        attach_type: u32,
    }
    let mut short = [0; 16];
    // The last byte stays 0.
    for (to, from) in short.iter_mut().zip(name.bytes().take(15)) {
        *to = from;
    }
    let mut attributes = Attributes {
        kind: bpf_prog_type::BPF_PROG_TYPE_KPROBE as u32,
        instruction_count: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: short,
        interface: 0,
        attach_type: bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32,
    };
    // SAFETY: `BPF_PROG_LOAD` reads `Attributes`, and the instructions and the license, which live through the call.
    unsafe { bpf(bpf_cmd::BPF_PROG_LOAD, &mut attributes) }
}

/// Places of one file, in arrays of one length.
#[derive(Debug, Default)]
pub struct Places {
    /// Offsets in the file.
    pub offsets: Vec<u64>,
    /// Offsets in the file of 16-bit counters that the kernel raises while a probe is there; 0: none.
    pub semaphores: Vec<u64>,
    /// Cookies.
    pub cookies: Vec<u64>,
}

/// Attaches a program of [`load_multi`] to many places of a file. `pid` 0 is everybody.
///
/// # Minimum kernel version
/// 6.6
pub fn link_multi(
    program: BorrowedFd<'_>,
    path: &CStr,
    places: &Places,
    returns: bool,
    pid: u32,
) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        program: u32,
        target: u32,
        attach_type: u32,
        flags: u32,
        path: u64,
        offsets: u64,
        semaphores: u64,
        cookies: u64,
        count: u32,
        multi_flags: u32,
        pid: u32,
        padding: u32,
    }
    let Places {
        offsets,
        semaphores,
        cookies,
    } = places;
    let mut attributes = Attributes {
        program: program.as_raw_fd().cast_unsigned(),
        target: 0,
        attach_type: bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32,
        flags: 0,
        path: path.as_ptr() as u64,
        offsets: offsets.as_ptr() as u64,
        semaphores: if semaphores.iter().all(|&offset| offset == 0) {
            0
        } else {
            semaphores.as_ptr() as u64
        },
        cookies: cookies.as_ptr() as u64,
        count: u32::try_from(offsets.len()).unwrap_or(u32::MAX),
        multi_flags: if returns { MULTI_RETURN } else { 0 },
        pid,
        padding: 0,
    };
    if semaphores.len() != offsets.len() || cookies.len() != offsets.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: `BPF_LINK_CREATE` reads `Attributes`, the path, and three arrays of `count` elements; all live through the
    // call.
    unsafe { bpf(bpf_cmd::BPF_LINK_CREATE, &mut attributes) }
}

/// Attaches an ordinary program to one place. The link keeps the perf event; `pid` `None` is everybody.
///
/// # Minimum kernel version
/// 5.15 (cookies)
pub fn link_single(
    program: BorrowedFd<'_>,
    path: &CStr,
    (offset, semaphore, cookie): (u64, u64, u64),
    returns: bool,
    pid: Option<u32>,
) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        program: u32,
        target: u32,
        attach_type: u32,
        flags: u32,
        cookie: u64,
    }
    let event = open_event(path, offset, semaphore, returns, pid)?;
    let mut attributes = Attributes {
        program: program.as_raw_fd().cast_unsigned(),
        target: event.as_raw_fd().cast_unsigned(),
        attach_type: bpf_attach_type::BPF_PERF_EVENT as u32,
        flags: 0,
        cookie,
    };
    // SAFETY: `BPF_LINK_CREATE` reads `Attributes` only.
    unsafe { bpf(bpf_cmd::BPF_LINK_CREATE, &mut attributes) }
}

fn open_event(
    path: &CStr,
    offset: u64,
    semaphore: u64,
    returns: bool,
    pid: Option<u32>,
) -> io::Result<OwnedFd> {
    /// `struct perf_event_attr` up to `config2`: `PERF_ATTR_SIZE_VER1`.
    #[repr(C)]
    struct Attributes {
        kind: u32,
        size: u32,
        config: u64,
        sample_period: u64,
        sample_type: u64,
        read_format: u64,
        flags: u64,
        wakeup_events: u32,
        breakpoint_type: u32,
        config1: u64,
        config2: u64,
    }
    /// `PERF_FLAG_FD_CLOEXEC`.
    const CLOEXEC: u64 = 1 << 3;
    /// Where the offset of the counter stands in `config` (Linux 4.20).
    const SEMAPHORE_SHIFT: u32 = 32;

    let number = |name: &str| -> io::Result<u32> {
        let text = fs::read_to_string(format!("{PMU}/{name}"))?;
        let digits = text.trim().trim_start_matches("config:");
        digits.parse().map_err(io::Error::other)
    };
    let return_bit = if returns {
        1u64.checked_shl(number("format/retprobe")?).unwrap_or(0)
    } else {
        0
    };
    let attributes = Attributes {
        kind: number("type")?,
        size: size_of::<Attributes>() as u32,
        config: return_bit | semaphore << SEMAPHORE_SHIFT,
        sample_period: 0,
        sample_type: 0,
        read_format: 0,
        flags: 0,
        wakeup_events: 0,
        breakpoint_type: 0,
        config1: path.as_ptr() as u64,
        config2: offset,
    };
    let pid = pid.map_or(-1, u32::cast_signed);
    // An event of everybody must name a processor; it is no matter which one.
    let cpu = if pid == -1 { 0 } else { -1 };
    // SAFETY: the attributes and the path in them live through the call, and their size is given.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            pid,
            cpu,
            -1,
            CLOEXEC,
        )
    };
    owned(fd)
}

/// # Safety
/// `command` reads and writes no more than `T`, and what pointers in it lead to must be valid for it. It returns a
/// descriptor.
unsafe fn bpf<T>(command: bpf_cmd, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: as the caller promises; the size is given.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as u32,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    owned(fd)
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    match i32::try_from(fd) {
        // SAFETY: the kernel just gave this descriptor to us alone.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
