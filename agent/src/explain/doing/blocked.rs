//! From a system call and its arguments to what it waits for.

use serde::{Deserialize, Serialize};

use super::{
    call::{self, Action, Operand},
    child,
    look::{Call, Look, Place, State},
    object::Peer,
    pollset, procfs,
    timeout::{self, Timeout},
};
use crate::{
    explain::net,
    model::hex,
    proc::{
        maps::Maps,
        memory::{Memory, Process},
    },
};

/// Longest path read from memory: `PATH_MAX`.
const MAX_PATH: usize = 4096;

/// What a descriptor is waited on for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// To be read from: somebody has to write.
    In,
    /// To be written to: somebody has to read.
    Out,
    /// Either.
    Both,
}

/// A descriptor that is waited on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fd {
    /// Number in the target.
    pub fd: i32,
    /// What for.
    pub side: Side,
}

/// A futex that is waited on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Futex {
    /// Address of the word.
    #[serde(with = "hex")]
    pub address: u64,
    /// Operation with its flags; 0 for the calls that have none.
    pub operation: u32,
}

/// A thread in a system call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// Name of the call.
    pub call: String,
    /// What it waits for.
    pub action: Action,
    /// On which descriptors.
    pub fds: Vec<Fd>,
    /// Descriptors of the set that are not in `fds`, because there are too many.
    pub more_fds: u64,
    /// For how long at most; null when for ever or not known.
    pub timeout: Option<Timeout>,
    /// For which children.
    pub children: Vec<Peer>,
    /// On which futex.
    pub futex: Option<Futex>,
    /// Which path, mapped file, or name of a unix socket (`@name` in the abstract name space).
    pub path: Option<String>,
    /// Which System V object.
    pub ipc: Option<u64>,
}

/// Decodes the system call that a thread was in when it was looked at; `None` when it was in none.
///
/// Sets of descriptors, times and paths are read from the target's memory, so they may be newer than the look.
/// [`super::observe`] sees to that a target whose memory cannot be read now holds up nobody.
#[must_use]
pub fn blocked(look: &Look) -> Option<Blocked> {
    let Place::Call(call) = look.place else {
        return None;
    };
    if matches!(look.state, State::Stopped | State::Gone | State::Zombie) || is_32_bit(&call) {
        return None;
    }
    let memory = Process { pid: look.tid };
    Some(decode(look, &call, &memory))
}

/// Numbers of 32-bit programs mean other calls. Their stacks are below 4 GiB, and hardly any 64-bit program's are.
fn is_32_bit(call: &Call) -> bool {
    call.stack_pointer <= u64::from(u32::MAX)
}

fn decode(look: &Look, call: &Call, memory: &impl Memory) -> Blocked {
    let name = call::name(call.number);
    let row = call::row(&name);
    let argument = |index: usize| call.arguments.get(index).copied().unwrap_or(0);
    let mut blocked = Blocked {
        action: row.action,
        fds: Vec::new(),
        more_fds: 0,
        timeout: timeout::decode(row.limit, &call.arguments, memory),
        children: Vec::new(),
        futex: None,
        path: None,
        ipc: None,
        call: name,
    };
    let side = match row.action {
        Action::Send | Action::Connect => Side::Out,
        Action::Receive | Action::Accept | Action::Poll => Side::In,
        _ => Side::Both,
    };
    match row.operand {
        Operand::Nothing => {}
        Operand::Fd(index) => blocked.fds.extend(fd(argument(index), side)),
        Operand::Copy { from, to } => {
            blocked.fds.extend(fd(argument(from), Side::In));
            blocked.fds.extend(fd(argument(to), Side::Out));
        }
        Operand::Address => {
            blocked.fds.extend(fd(argument(0), side));
            blocked.path = unix_name(memory, argument(1), argument(2));
        }
        Operand::PollFds => {
            (blocked.fds, blocked.more_fds) = pollset::poll_fds(memory, argument(0), argument(1));
        }
        Operand::Sets => {
            let sets = [argument(1), argument(2), argument(3)];
            (blocked.fds, blocked.more_fds) = pollset::sets(memory, argument(0), sets);
        }
        Operand::Mapping => blocked.path = mapped(look.tid, argument(0)),
        Operand::Path(index) => blocked.path = path(memory, argument(index)),
        Operand::Children => blocked.children = child::of_wait4(look.pid, -1),
        Operand::ChildId => {
            blocked.children = child::of_wait4(look.pid, low_i32(argument(0)));
        }
        Operand::ChildKind => {
            blocked.children =
                child::of_waitid(look.pid, look.tid, argument(0), low_i32(argument(1)));
        }
        Operand::Word => {
            blocked.futex = Some(Futex {
                address: argument(0),
                operation: if blocked.call == "futex" {
                    low_u32(argument(1))
                } else {
                    0
                },
            });
        }
        Operand::Ipc => blocked.ipc = Some(low_u32(argument(0)).into()),
        Operand::Command => {
            blocked.fds.extend(fd(argument(0), Side::Both));
            // F_SETLKW, F_OFD_SETLKW.
            if [7, 38].contains(&low_i32(argument(1))) {
                blocked.action = Action::FileLock;
            }
        }
    }
    blocked
}

fn fd(argument: u64, side: Side) -> Option<Fd> {
    let fd = low_i32(argument);
    (fd >= 0).then_some(Fd { fd, side })
}

/// What the kernel takes for an `int` argument.
fn low_i32(argument: u64) -> i32 {
    low_u32(argument).cast_signed()
}

fn low_u32(argument: u64) -> u32 {
    u32::try_from(argument & u64::from(u32::MAX)).unwrap_or(0)
}

/// The file mapped at an address.
fn mapped(tid: u32, address: u64) -> Option<String> {
    let maps = Maps::read(tid).ok()?;
    let mapping = maps.find(address)?;
    (!mapping.path.is_empty()).then(|| procfs::printable(&mapping.path))
}

/// The name in a `struct sockaddr_un`; `None` for any other family.
fn unix_name(memory: &impl Memory, address: u64, length: u64) -> Option<String> {
    // Two bytes of family, and at most 108 of name.
    let mut bytes = vec![0; usize::try_from(length).ok()?.min(110)];
    if !memory.read(address, &mut bytes) {
        return None;
    }
    let (family, name) = bytes.split_at_checked(2)?;
    let family = u16::from_ne_bytes(family.try_into().ok()?);
    let name = (i32::from(family) == libc::AF_UNIX).then(|| net::unix_name(name))?;
    Some(procfs::printable(&name))
}

/// A string in memory. It is read up to the end of each page, since the next one may not be mapped.
fn path(memory: &impl Memory, address: u64) -> Option<String> {
    const STEP: u64 = 256;
    let mut bytes = Vec::new();
    let mut at = address;
    while bytes.len() < MAX_PATH {
        let mut step = [0; STEP as usize];
        let length = usize::try_from(STEP - at % STEP).ok()?;
        let step = step.get_mut(..length)?;
        if !memory.read(at, step) {
            return None;
        }
        if let Some(end) = step.iter().position(|&byte| byte == 0) {
            bytes.extend(step.get(..end)?);
            return Some(procfs::printable(&String::from_utf8_lossy(&bytes)));
        }
        bytes.extend_from_slice(step);
        at = at.checked_add(u64::try_from(length).ok()?)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::memory::Copied;

    #[test]
    fn paths_end_at_their_zero() {
        let mut bytes = vec![b'a'; 768];
        bytes[590] = 0;
        let memory = Copied {
            base: 0x1000,
            bytes: &bytes,
        };
        assert_eq!(path(&memory, 0x1000).map(|path| path.len()), Some(590));
        assert_eq!(path(&memory, 0x1000 + 588).as_deref(), Some("aa"));
        assert_eq!(path(&memory, 0x1000 + 591), None);
        assert_eq!(path(&memory, u64::MAX), None);
        let endless = Copied {
            base: 0,
            bytes: &[b'a'; 10_000],
        };
        assert_eq!(path(&endless, 0), None);
    }

    #[test]
    fn names_of_unix_sockets() {
        let memory = Copied {
            base: 64,
            bytes: b"\x01\0/run/x.sock\0\x01\0\0abstract\x02\0",
        };
        let name = |at, length| unix_name(&memory, at, length);
        assert_eq!(name(64, 14).as_deref(), Some("/run/x.sock"));
        assert_eq!(name(78, 11).as_deref(), Some("@abstract"));
        assert_eq!(name(89, 2), None);
        assert_eq!(name(64, 0), None);
        assert_eq!(name(64, u64::MAX), None);
    }

    proptest! {
        /// Names from a target's memory are bounded, and can do nothing to a terminal.
        #[test]
        fn any_memory_names(
            base in prop_oneof![0..8192_u64, Just(u64::MAX - 4096), any::<u64>()],
            bytes in proptest::collection::vec(prop_oneof![9 => 1..=255_u8, 1 => Just(0)], 0..6000),
            offset in 0..64_u64,
            length in prop_oneof![0..128_u64, any::<u64>()],
        ) {
            let memory = Copied { base, bytes: &bytes };
            let at = base.wrapping_add(offset);
            let names = [path(&memory, at), unix_name(&memory, at, length)];
            for name in names.into_iter().flatten() {
                prop_assert!(name.chars().count() <= MAX_PATH && !name.chars().any(char::is_control));
            }
        }

        #[test]
        fn any_call_is_decoded_within_bounds(
            number in 0..500_u64,
            arguments in any::<[u64; 6]>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..256),
        ) {
            let look = super::super::look::look(u32::MAX, u32::MAX);
            let call = Call { number, arguments, stack_pointer: u64::MAX };
            let blocked = decode(&look, &call, &Copied { base: arguments[0], bytes: &bytes });
            prop_assert!(blocked.fds.len() <= pollset::MAX_FDS);
        }
    }
}
