//! The texts of `/proc/PID/task/TID`, as pure and total functions.

use super::look::{Call, Place, State};

/// Longest kernel function name that is kept.
const MAX_FUNCTION: usize = 128;

/// Fields of `stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub state: State,
    pub cpu_ticks: u64,
    pub start_ticks: u64,
}

pub(super) fn stat(text: &str) -> Option<Stat> {
    // The name may hold spaces and brackets, so what follows starts at the last one.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    // Fields are numbered from 1 in proc(5): state is 3, utime 14, stime 15, starttime 22.
    let state = match *fields.next()?.as_bytes().first()? {
        b'R' => State::Runnable,
        b'S' => State::Sleeping,
        b'D' => State::Uninterruptible,
        b'T' => State::Stopped,
        b't' => State::Traced,
        b'Z' => State::Zombie,
        b'X' | b'x' => State::Gone,
        _ => State::Other,
    };
    let user: u64 = fields.nth(10)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Stat {
        state,
        cpu_ticks: user.saturating_add(system),
        start_ticks: fields.nth(6)?.parse().ok()?,
    })
}

/// Time on CPU (ns), time in line for one (ns), turns.
pub(super) fn schedstat(text: &str) -> Option<[u64; 3]> {
    let mut fields = text.split_ascii_whitespace().map(str::parse);
    let mut next = || fields.next()?.ok();
    Some([next()?, next()?, next()?])
}

/// Fields of `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub tracer: u32,
    pub voluntary: Option<u64>,
    pub involuntary: Option<u64>,
    /// The thread's id in each pid namespace that sees it, ours first.
    pub ids: Vec<u32>,
}

pub(super) fn status(text: &str) -> Status {
    // `Name:` may hold anything but a newline, which the kernel escapes.
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next_back()?.parse().ok()
    };
    let id = |name: &str| field(name).and_then(|id: u64| u32::try_from(id).ok());
    let ids = text.lines().find_map(|line| {
        let ids = line.strip_prefix("NSpid:")?.split_ascii_whitespace();
        // Namespaces nest at most 32 deep.
        Some(ids.take(33).filter_map(|id| id.parse().ok()).collect())
    });
    Status {
        tracer: id("TracerPid:").unwrap_or(0),
        voluntary: field("voluntary_ctxt_switches:"),
        involuntary: field("nonvoluntary_ctxt_switches:"),
        ids: ids.unwrap_or_default(),
    }
}

pub(super) fn wchan(text: &str) -> Option<String> {
    let name = text.trim_end();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.$".contains(&byte);
    let is_sane = name.len() <= MAX_FUNCTION && name.bytes().all(is_name);
    (is_sane && !name.is_empty() && name != "0").then(|| name.to_owned())
}

pub(super) fn syscall(text: &str) -> Place {
    if text.trim_end() == "running" {
        return Place::Running;
    }
    let mut fields = text.split_ascii_whitespace();
    match fields.next().map(str::parse::<i64>) {
        Some(Ok(-1)) => Place::Fault,
        Some(Ok(number)) => {
            let mut next = || {
                let field = fields.next()?.strip_prefix("0x")?;
                u64::from_str_radix(field, 16).ok()
            };
            let mut call = || {
                Some(Call {
                    number: u64::try_from(number).ok()?,
                    arguments: [next()?, next()?, next()?, next()?, next()?, next()?],
                    stack_pointer: next()?,
                })
            };
            call().map_or(Place::Unknown, Place::Call)
        }
        _ => Place::Unknown,
    }
}

/// Bytes that passed through read and write calls, the page cache included.
pub(super) fn io_bytes(text: &str) -> Option<u64> {
    let field = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    Some(field("rchar:")?.saturating_add(field("wchar:")?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAT: &str =
        "7 (a) R 1) t 1 7 7 0 -1 2129984 5 0 0 0 11 22 0 0 20 0 1 0 4711 0 0 18446744073709551615";

    #[test]
    fn stat_of_a_hostile_name() {
        let expected = Stat {
            state: State::Traced,
            cpu_ticks: 33,
            start_ticks: 4711,
        };
        assert_eq!(stat(STAT), Some(expected));
        assert_eq!(stat("7 (a) R 1 7"), None);
    }

    #[test]
    fn system_calls() {
        assert_eq!(syscall("running\n"), Place::Running);
        assert_eq!(syscall("-1 0x7ffe 0x55\n"), Place::Fault);
        assert_eq!(syscall("0 0x3 0x1\n"), Place::Unknown);
        let call = Call {
            number: 230,
            arguments: [1, 2, 3, 4, 5, 0xfff],
            stack_pointer: 0x7ffe,
        };
        assert_eq!(
            syscall("230 0x1 0x2 0x3 0x4 0x5 0xfff 0x7ffe 0x55\n"),
            Place::Call(call)
        );
    }

    #[test]
    fn a_status() {
        let text = "Name:\tTracerPid: 9\nTracerPid:\t77\nNSpid:\t4711\t12\n\
                    voluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t6\n";
        let expected = Status {
            tracer: 77,
            voluntary: Some(5),
            involuntary: Some(6),
            ids: vec![4711, 12],
        };
        assert_eq!(status(text), expected);
        assert_eq!(status(""), Status::default());
    }

    #[test]
    fn functions() {
        assert_eq!(wchan("pipe_read"), Some("pipe_read".to_owned()));
        assert_eq!(wchan("0"), None);
        assert_eq!(wchan("a\u{1b}[m"), None);
    }

    #[test]
    fn bytes_read_and_written() {
        assert_eq!(io_bytes("rchar: 3\nwchar: 4\nsyscr: 1\n"), Some(7));
        assert_eq!(io_bytes("rchar: 3\n"), None);
    }

    proptest! {
        #[test]
        fn any_text(text in "[ -~\n]{0,128}") {
            let _ = (stat(&text), schedstat(&text), syscall(&text), io_bytes(&text));
            let _ = status(&text);
            prop_assert!(wchan(&text).is_none_or(|name| name.len() <= MAX_FUNCTION));
        }

        #[test]
        fn any_cut(cut in 0..STAT.len()) {
            let _ = stat(&STAT[..cut]);
            let _ = syscall(&"230 0x1 0x2 0x3 0x4 0x5 0xfff 0x7ffe 0x55"[..cut.min(41)]);
        }
    }
}
