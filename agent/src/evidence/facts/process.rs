//! `/proc/PID/status` and `/proc/PID/limits`.

use crate::{model::bundle::ProcessFacts, proc::process::Proc};

/// Facts of a process; `None` when it is gone.
#[must_use]
pub fn facts(pid: u32) -> Option<ProcessFacts> {
    let proc = Proc::default();
    let status = proc.text(&proc.path(pid, "status"))?;
    let limits = proc.text(&proc.path(pid, "limits")).unwrap_or_default();
    let adjust = proc.text(&proc.path(pid, "oom_score_adj"));
    Some(ProcessFacts {
        pid,
        comm: proc.comm(pid).unwrap_or_default(),
        exe: proc.exe(pid),
        threads: field(&status, "Threads:"),
        resident_bytes: kibibytes(&status, "VmRSS:"),
        swapped_bytes: kibibytes(&status, "VmSwap:"),
        max_files: soft(&limits, "Max open files"),
        max_threads: soft(&limits, "Max processes"),
        oom_score_adj: adjust.and_then(|text| text.trim().parse().ok()),
    })
}

/// First word after a key at the beginning of a line.
fn field(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

fn kibibytes(text: &str, key: &str) -> Option<u64> {
    field(text, key)?.checked_mul(1024)
}

/// A soft limit; `None` when there is none.
fn soft(limits: &str, name: &str) -> Option<u64> {
    field(limits, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own() {
        let facts = facts(std::process::id()).unwrap();
        assert!(facts.threads.unwrap() >= 1);
        assert!(facts.resident_bytes.unwrap() > 1 << 20);
        assert!(facts.exe.is_some() && facts.oom_score_adj.is_some());
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: `limit` is writable during the call.
        let done = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
        assert_eq!(done, 0);
        assert_eq!(facts.max_files, Some(limit.rlim_cur));
        assert_eq!(super::facts(u32::MAX), None);
    }

    #[test]
    fn no_limit_is_none() {
        let text =
            "Max processes             unlimited            unlimited            processes\n";
        assert_eq!(soft(text, "Max processes"), None);
        assert_eq!(field("Threads:", "Threads:"), None);
        assert_eq!(kibibytes("VmRSS: 18446744073709551615 kB", "VmRSS:"), None);
    }
}
