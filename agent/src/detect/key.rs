//! What an incident is about, in a form that survives restarts of the agent and of the process.
//!
//! The subject is the first 64 bits of SHA-256 over place, process name and lock id, each ended by a zero byte. The
//! place is the first that is known of pod uid, container id, systemd unit and cgroup path; the lock id is that of the
//! view, or `process` for what is about a process as a whole. An incident's key is its reason and its subject in
//! hexadecimal, `stalled-3f2a91c0d4e5b6a7`: it may stand in a file name, a label or a URL, and two incidents of one lock
//! can be told by it.
//!
//! Locks that have the same id in the same place share a subject: copies of a program in one container, like objects
//! that are waited for at the same line. They are one incident.

use sha2::{Digest as _, Sha256};

use crate::model::{incident::Reason, workload::Workload};

/// See above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Subject(u64);

/// Names an incident.
pub(super) type Key = (Subject, Reason);

impl Subject {
    /// `lock` is the lock's id; `None` stands for the process as a whole.
    pub(super) fn new(workload: &Workload, comm: &str, lock: Option<&str>) -> Self {
        let mut hash = Sha256::new();
        for part in [place(workload), comm, lock.unwrap_or("process")] {
            hash.update(part);
            hash.update([0]);
        }
        let hash: [u8; 32] = hash.finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = hash;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// Where a process runs, in the most lasting words.
pub(super) fn place(workload: &Workload) -> &str {
    let Workload {
        cgroup,
        container_id,
        pod_uid,
        unit,
        container_runtime: _,
        qos_class: _,
    } = workload;
    [pod_uid, container_id, unit, cgroup]
        .into_iter()
        .find_map(|place| place.as_deref())
        .unwrap_or_default()
}

/// The key as incidents have it.
pub(super) fn write((subject, reason): Key) -> String {
    let reason = reason.as_str();
    let Subject(hash) = subject;
    format!("{reason}-{hash:016x}")
}

/// The subject in what [`write`] wrote.
pub(super) fn subject(key: &str) -> Option<Subject> {
    let (_, hash) = key.rsplit_once('-')?;
    (hash.len() == 16).then(|| u64::from_str_radix(hash, 16).ok().map(Subject))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_unit(unit: &str) -> Workload {
        Workload {
            cgroup: Some("/system.slice/run-4711.scope".to_owned()),
            unit: Some(unit.to_owned()),
            ..Workload::default()
        }
    }

    #[test]
    fn a_key_is_as_documented() {
        let subject = Subject::new(&in_unit("db.service"), "db", Some("mutex:3f2a91c0:0x4080"));
        let key = write((subject, Reason::LongWait));
        // printf 'db.service\0db\0mutex:3f2a91c0:0x4080\0' | sha256sum | head -c 16
        assert_eq!(key, "long_wait-a63e94b77e2834be");
        assert_eq!(self::subject(&key), Some(subject));
        for wrong in [
            "",
            "parked",
            "parked-",
            "parked-3f2a91c0d4e5b6a",
            "parked-3f2a91c0d4e5b6ag",
        ] {
            assert_eq!(self::subject(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let workload = in_unit("a");
        let subject = |comm, lock| Subject::new(&workload, comm, lock);
        assert_ne!(subject("ab", Some("c")), subject("a", Some("bc")));
        assert_ne!(subject("ab", None), subject("ab", Some("")));
    }

    #[test]
    fn the_pod_says_more_than_its_container() {
        let mut workload = in_unit("kubelet.service");
        assert_eq!(place(&workload), "kubelet.service");
        workload.container_id = Some("c0ffee".to_owned());
        assert_eq!(place(&workload), "c0ffee");
        workload.pod_uid = Some("1b4e28ba-2fa1-11d2-883f-0016d3cca427".to_owned());
        assert_eq!(place(&workload), "1b4e28ba-2fa1-11d2-883f-0016d3cca427");
        assert_eq!(place(&Workload::default()), "");
    }
}
