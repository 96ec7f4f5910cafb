//! Sockets by inode, through sock_diag: who is at the other end, what is queued, since when nothing moved.
//!
//! Nothing in the target is touched: the kernel is asked from the target's network namespace. A socket that was created
//! in another namespace than its owner lives in now is not found.

mod channel;
mod inet;
mod netlink;
mod other_end;
mod socket;
mod unix;

use std::{
    collections::{HashMap, HashSet},
    io,
    path::Path,
    time::Instant,
};

use channel::Channel;
pub use socket::{Address, Protocol, Socket, Tcp, Timer};
pub(super) use unix::name as unix_name;

/// Why sockets could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The target is gone, or its network namespace may not be entered (`CAP_SYS_ADMIN`).
    #[error("cannot enter the network namespace")]
    Namespace(#[source] io::Error),
    /// The kernel has no sock_diag.
    #[error("cannot open a sock_diag socket")]
    Socket(#[source] io::Error),
    /// A request could not be sent or an answer not received.
    #[error("cannot talk to sock_diag")]
    Exchange(#[source] io::Error),
    /// The kernel refused the request.
    #[error("sock_diag refused the request")]
    Kernel(#[source] io::Error),
    /// The answer had not ended at the deadline.
    #[error("sock_diag did not answer in time")]
    TimedOut,
    /// The answer did not end.
    #[error("sock_diag's answer is too long")]
    TooLong,
}

/// A socket to look up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// Inode, as in `socket:[INODE]`.
    pub inode: u64,
    /// Kernel's name of the protocol (`TCP`, `TCPv6`, `UNIX`, `UNIX-STREAM`, `UDP`, ...), as the attribute
    /// `system.sockprotoname` has it; `None` when not known, which costs a look through all kinds.
    pub protocol: Option<String>,
    /// Name of the unix socket that it is being connected to, `@name` in the abstract name space.
    pub listener: Option<String>,
}

impl Wanted {
    fn may_be(&self, name: &str) -> bool {
        self.protocol
            .as_deref()
            .is_none_or(|protocol| protocol == name)
    }

    fn may_be_unix(&self) -> bool {
        self.protocol
            .as_deref()
            .is_none_or(|protocol| protocol.starts_with("UNIX"))
    }
}

/// What was found, by inode.
#[derive(Debug, Default)]
pub struct Found {
    /// The sockets.
    pub sockets: HashMap<u64, Socket>,
    /// What went wrong on the way; what was found before stays.
    pub error: Option<Error>,
}

/// Looks up sockets in the network namespace that `namespace` (`/proc/PID/task/TID/ns/net`) leads to.
///
/// For each unix socket the other end is looked up too, and for each TCP connection whose other end is in the same
/// namespace: see [`Socket::peer_inode`].
///
/// # Cost
/// One dump of the sockets of each protocol and family that is wanted (about 1 us per socket of the namespace); one
/// request for each unix socket and each TCP peer; one dump of the unix listeners for each unix socket that waits for one. Memory: only what is wanted is kept.
#[must_use]
pub fn find(namespace: &Path, wanted: &[Wanted], deadline: Instant) -> Found {
    let mut sockets = HashMap::new();
    let error = Channel::open(namespace, deadline)
        .and_then(|mut channel| {
            find_unix(&mut channel, wanted, &mut sockets)?;
            find_inet(&mut channel, wanted, &mut sockets)
        })
        .err();
    Found { sockets, error }
}

/// Protocols and families in the order that settles most first.
const INET: [(Protocol, libc::c_int, &str); 4] = [
    (Protocol::Tcp, libc::AF_INET, "TCP"),
    (Protocol::Tcp, libc::AF_INET6, "TCPv6"),
    (Protocol::Udp, libc::AF_INET, "UDP"),
    (Protocol::Udp, libc::AF_INET6, "UDPv6"),
];

fn find_inet(
    channel: &mut Channel,
    wanted: &[Wanted],
    sockets: &mut HashMap<u64, Socket>,
) -> Result<(), Error> {
    for (protocol, family, name) in INET {
        let mut inodes: HashSet<u64> = wanted
            .iter()
            .filter(|wanted| wanted.may_be(name) && !sockets.contains_key(&wanted.inode))
            .map(|wanted| wanted.inode)
            .collect();
        if inodes.is_empty() {
            continue;
        }
        channel.ask(netlink::DUMP, &inet::all(family, protocol), |payload| {
            // Most are not wanted: they are told apart before anything is decoded.
            if inet::inode(payload).is_some_and(|inode| inodes.remove(&inode))
                && let Some(socket) = inet::decode(payload, protocol)
            {
                sockets.insert(socket.inode, socket);
            }
            !inodes.is_empty()
        })?;
    }
    for socket in sockets.values_mut() {
        if socket.protocol == Protocol::Tcp {
            socket.peer_inode = other_end::of_tcp(channel, socket)?;
        }
    }
    Ok(())
}

fn find_unix(
    channel: &mut Channel,
    wanted: &[Wanted],
    sockets: &mut HashMap<u64, Socket>,
) -> Result<(), Error> {
    for wanted in wanted.iter().filter(|wanted| wanted.may_be_unix()) {
        let Some(mut socket) = other_end::unix(channel, wanted.inode)? else {
            continue;
        };
        // The other end has no inode until it is accepted.
        let is_pending = socket.state == "ESTABLISHED" || wanted.listener.is_some();
        if is_pending && socket.peer_inode.is_none() {
            other_end::listener(channel, wanted.listener.as_deref(), &mut socket)?;
        }
        sockets.insert(socket.inode, socket);
    }
    Ok(())
}
