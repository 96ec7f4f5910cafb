//! All threads with registers and system call: from the task iterator, or from `/proc` where it does not load.

use std::{
    fs,
    io::{self, Read as _},
};

use holdup_abi::{census::Task, record::Regs};

use super::decode;

/// Most threads one census returns.
pub const MAX_TASKS: usize = 1 << 20;

/// Reads one run of the task iterator.
///
/// # Errors
/// The kernel stops with an error.
pub fn read(mut iterator: impl io::Read) -> io::Result<Vec<Task>> {
    let mut bytes = Vec::new();
    let limit = (MAX_TASKS * size_of::<Task>()) as u64;
    iterator.by_ref().take(limit).read_to_end(&mut bytes)?;
    bytes
        .chunks_exact(size_of::<Task>())
        .map(|chunk| decode::task(chunk).map_err(io::Error::other))
        .collect()
}

/// The same from `/proc/PID/task/*/{syscall,stat,comm}`, without frame pointers and times. Threads that end meanwhile
/// are left out.
///
/// # Errors
/// No thread of the process can be read: it is gone, or we may not.
pub fn from_proc(pid: u32) -> io::Result<Vec<Task>> {
    let mut tasks = Vec::new();
    let mut refused = None;
    for entry in fs::read_dir(format!("/proc/{pid}/task"))?.take(MAX_TASKS) {
        let Some(tid) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        match proc_task(pid, tid) {
            Ok(task) => tasks.push(task),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => refused = Some(error),
            Err(_) => {}
        }
    }
    match refused {
        Some(error) if tasks.is_empty() => Err(error),
        _ => Ok(tasks),
    }
}

/// One thread of [`from_proc`].
///
/// # Errors
/// It is gone, or we may not look.
pub fn proc_task(pid: u32, tid: u32) -> io::Result<Task> {
    let read = |name: &str| fs::read(format!("/proc/{pid}/task/{tid}/{name}"));
    let syscall = read("syscall")?;
    let stat = read("stat")?;
    let name = read("comm")?;
    let mut comm = [0; 16];
    let length = name
        .iter()
        .position(|&byte| byte == b'\n')
        .unwrap_or(name.len())
        .min(15);
    if let (Some(to), Some(from)) = (comm.get_mut(..length), name.get(..length)) {
        to.copy_from_slice(from);
    }
    let state = stat_state(&stat);
    Ok(syscall_task(
        &String::from_utf8_lossy(&syscall),
        tid,
        pid,
        state,
        comm,
    ))
}

/// Scheduler state bits for the letter that follows the last `)` of `/proc/TID/stat`.
fn stat_state(stat: &[u8]) -> u32 {
    let after = stat
        .iter()
        .rposition(|&byte| byte == b')')
        .and_then(|at| stat.get(at + 2));
    match after {
        Some(b'R') | None => 0,
        Some(b'D') => 2,
        Some(b'T') => 4,
        Some(b't') => 8,
        Some(b'Z' | b'X') => 0x20,
        Some(_) => 1,
    }
}

/// Parses `/proc/TID/syscall`: `running`, or number, six arguments, stack pointer and program counter.
fn syscall_task(text: &str, tid: u32, tgid: u32, state: u32, comm: [u8; 16]) -> Task {
    let mut words = text.split_ascii_whitespace();
    let number = words.next().and_then(|word| word.parse::<i64>().ok());
    let hex: Vec<u64> = words
        .map_while(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok())
        .take(8)
        .collect();
    let mut args = [0; 6];
    let (sp, pc) = match *hex.as_slice() {
        [a, b, c, d, e, f, sp, pc] => {
            args = [a, b, c, d, e, f];
            (sp, pc)
        }
        // Blocked outside a system call: `-1 sp pc`.
        [sp, pc] => (sp, pc),
        _ => (0, 0),
    };
    Task {
        tid,
        tgid,
        generation: 0,
        state: if number.is_none() { 0 } else { state.max(1) },
        syscall: number.unwrap_or(-1),
        args,
        regs: Regs {
            pc,
            sp,
            fp: 0,
            lr: 0,
        },
        last_ran_ns: 0,
        since_ns: 0,
        wait_state: 0,
        wait_flags: 0,
        comm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_syscall_lines_are_understood() {
        let parse = |text| syscall_task(text, 1, 1, 1, [0; 16]);
        let futex = parse("202 0x55 0x80 0x2 0x0 0x0 0x0 0x7ffc10 0x7f20\n");
        assert_eq!(
            (futex.syscall, futex.args[0], futex.args[1], futex.args[2]),
            (202, 0x55, 0x80, 2)
        );
        assert_eq!((futex.regs.sp, futex.regs.pc), (0x7ffc10, 0x7f20));
        assert_eq!(parse("running\n").state, 0);
        assert_eq!(parse("-1 0x10 0x20").regs.pc, 0x20);
        for hostile in [
            "",
            "-",
            "202",
            "202 0xzz",
            "99999999999999999999 0x1",
            "202 0x1 0x2 0x3",
        ] {
            assert_eq!(parse(hostile).regs.pc, 0, "{hostile}");
        }
    }

    #[test]
    fn a_name_with_parentheses_does_not_hide_the_state() {
        assert_eq!(stat_state(b"12 (evil) R) S 1 1"), 1);
        assert_eq!(stat_state(b"12 (x) R 1"), 0);
        assert_eq!(stat_state(b"12 (x) D 1"), 2);
        assert_eq!(stat_state(b""), 0);
    }

    #[test]
    fn our_own_threads_are_found() {
        let tasks = from_proc(std::process::id()).unwrap();
        assert!(tasks.iter().any(|task| task.tid == std::process::id()));
    }
}
