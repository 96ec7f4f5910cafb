//! Offsets of kernel structure fields, from the running kernel's own type information.
//!
//! BPF programs written in Rust have no compile-once relocations, so the agent looks the offsets up and hands them to
//! the programs as constants. Format: <https://www.kernel.org/doc/html/latest/bpf/btf.html>.

use std::{io, path::Path};

use holdup_abi::config::{NO_OFFSET, TaskOffsets};

/// Where the kernel shows its types (`CONFIG_DEBUG_INFO_BTF`, Linux 5.4).
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
/// Nesting of anonymous structures that is followed.
const MAX_DEPTH: u32 = 8;

/// Why the offsets are not known.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file could not be read.
    #[error("cannot read {VMLINUX}")]
    Read(#[from] io::Error),
    /// The file is not BTF as documented.
    #[error("{VMLINUX} is malformed")]
    Malformed,
    /// `struct task_struct` is not in it.
    #[error("{VMLINUX} does not describe task_struct")]
    NoTask,
}

/// Offsets of `task_struct` in the running kernel; a field it lacks is [`NO_OFFSET`].
///
/// # Errors
/// The kernel has no readable BTF.
pub fn task_offsets(path: &Path) -> Result<TaskOffsets, BtfError> {
    let bytes = std::fs::read(path)?;
    let types = Types::parse(&bytes).ok_or(BtfError::Malformed)?;
    let task = types.named_struct("task_struct").ok_or(BtfError::NoTask)?;
    let field = |path: &[&str]| types.offset(task, path).unwrap_or(NO_OFFSET);
    let state = match field(&["__state"]) {
        NO_OFFSET => field(&["state"]),
        offset => offset,
    };
    Ok(TaskOffsets {
        pid: field(&["pid"]),
        tgid: field(&["tgid"]),
        state,
        group_leader: field(&["group_leader"]),
        start_time: field(&["start_time"]),
        self_exec_id: field(&["self_exec_id"]),
        mm: field(&["mm"]),
        comm: field(&["comm"]),
        last_arrival: field(&["sched_info", "last_arrival"]),
        run_total: field(&["se", "sum_exec_runtime"]),
        run_before: field(&["se", "prev_sum_exec_runtime"]),
        stack: field(&["stack"]),
        run_delay: field(&["sched_info", "run_delay"]),
        sleeps: field(&["nvcsw"]),
    })
}

struct Types<'a> {
    strings: &'a [u8],
    types: &'a [u8],
    /// Where each type starts in `types`; ids count from 1.
    starts: Vec<usize>,
}

struct Member {
    name: u32,
    type_id: u32,
    offset_bits: u32,
}

impl<'a> Types<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.get(..2)? != MAGIC.to_le_bytes() {
            return None;
        }
        let header_len = word(bytes, 4)?;
        let section = |offset_at: usize, len_at: usize| {
            let start = header_len.checked_add(word(bytes, offset_at)?)?;
            bytes.get(start as usize..start.checked_add(word(bytes, len_at)?)? as usize)
        };
        let types = section(8, 12)?;
        let strings = section(16, 20)?;
        let mut starts = Vec::new();
        let mut at = 0;
        while at < types.len() {
            starts.push(at);
            at = at.checked_add(12 + extra_bytes(word(types, at + 4)?)?)?;
        }
        Some(Self {
            strings,
            types,
            starts,
        })
    }

    fn start(&self, id: u32) -> Option<usize> {
        self.starts.get((id as usize).checked_sub(1)?).copied()
    }

    fn name(&self, offset: u32) -> &'a [u8] {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        rest.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    fn named_struct(&self, name: &str) -> Option<u32> {
        let index = self.starts.iter().position(|&at| {
            word(self.types, at + 4).is_some_and(|info| kind(info) == KIND_STRUCT)
                && word(self.types, at).is_some_and(|offset| self.name(offset) == name.as_bytes())
        })?;
        u32::try_from(index + 1).ok()
    }

    fn members(&self, id: u32) -> impl Iterator<Item = Member> {
        let at = self.start(id);
        let info = at.and_then(|at| word(self.types, at + 4)).unwrap_or(0);
        let count = if matches!(kind(info), KIND_STRUCT | KIND_UNION) {
            info & 0xffff
        } else {
            0
        };
        let bitfields = info >> 31 == 1;
        (0..count as usize).map_while(move |index| {
            let at = at? + 12 + index * 12;
            let raw = word(self.types, at + 8)?;
            Some(Member {
                name: word(self.types, at)?,
                type_id: word(self.types, at + 4)?,
                offset_bits: if bitfields { raw & 0x00ff_ffff } else { raw },
            })
        })
    }

    /// Byte offset of a field, following `path` through named and anonymous members.
    fn offset(&self, id: u32, path: &[&str]) -> Option<u32> {
        let (first, rest) = path.split_first()?;
        let (type_id, offset) = self.member(id, first, 0)?;
        if rest.is_empty() {
            Some(offset)
        } else {
            Some(offset + self.offset(type_id, rest)?)
        }
    }

    fn member(&self, id: u32, name: &str, depth: u32) -> Option<(u32, u32)> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.members(id).find_map(|member| {
            let offset = member.offset_bits / 8;
            let own = self.name(member.name);
            if own == name.as_bytes() {
                return Some((member.type_id, offset));
            }
            let (type_id, inner) = own
                .is_empty()
                .then(|| self.member(member.type_id, name, depth + 1))??;
            Some((type_id, offset.checked_add(inner)?))
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

const fn kind(info: u32) -> u32 {
    (info >> 24) & 0x1f
}

/// Bytes that follow a type's 12-byte head.
const fn extra_bytes(info: u32) -> Option<usize> {
    let count = (info & 0xffff) as usize;
    Some(match kind(info) {
        1 | 14 | 17 => 4,
        3 => 12,
        4 | 5 | 15 | 19 => count * 12,
        6 | 13 => count * 8,
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_describes_task_struct() {
        let offsets = task_offsets(Path::new(VMLINUX)).unwrap();
        for offset in [
            offsets.pid,
            offsets.tgid,
            offsets.state,
            offsets.mm,
            offsets.comm,
        ] {
            assert!(offset != NO_OFFSET && offset < 65_536, "{offsets:?}");
        }
        assert_eq!(
            offsets.tgid,
            offsets.pid + 4,
            "pid and tgid are neighbours in every kernel"
        );
    }

    #[test]
    fn truncated_and_damaged_files_are_refused_not_panicked_on() {
        let bytes = std::fs::read(VMLINUX).unwrap();
        for length in [0, 1, 2, 8, 24, 100, 5_000, bytes.len() / 2] {
            let _ = Types::parse(&bytes[..length]);
        }
        let mut head = bytes[..4096].to_vec();
        for at in 0..head.len() {
            head[at] ^= 0xff;
            if let Some(types) = Types::parse(&head) {
                let _ = types
                    .named_struct("task_struct")
                    .map(|id| types.offset(id, &["pid"]));
            }
            head[at] ^= 0xff;
        }
    }
}
