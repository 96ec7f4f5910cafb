//! Sentences: "waits in recvfrom() on fd 9, TCP to 10.0.3.7:6379, ESTABLISHED, nothing received for 41 s".

use std::fmt::Write as _;

use super::{
    activity::Activity,
    blocked::{Blocked, Side},
    call::Action,
    fdinfo::Ring,
    object::{Endpoint, Object, Peer},
    observe::Observation,
    timeout::Timeout,
};
use crate::explain::net::{Address, Protocol, Socket, Timer};

/// Most descriptors, and most processes, that a sentence names.
const MAX_NAMED: usize = 3;

/// What a thread does, as the rest of a sentence that begins with its name.
#[must_use]
pub fn describe(activity: &Activity, seen: &Observation) -> String {
    let inside = |function: &Option<String>| {
        function
            .as_ref()
            .map_or_else(String::new, |function| format!(" in {function}"))
    };
    match activity {
        Activity::Running { .. } => "runs on CPU".to_owned(),
        Activity::Starved { .. } => "is runnable but gets no CPU".to_owned(),
        Activity::Runnable => "is runnable".to_owned(),
        Activity::Sleeping => seen.blocked.as_ref().map_or_else(
            || format!("sleeps{}", inside(&seen.look.function)),
            |blocked| wait(blocked, &seen.endpoints),
        ),
        Activity::Faulting { function } => format!("waits in a page fault{}", inside(function)),
        Activity::Uninterruptible { function } => {
            let inside = inside(function);
            seen.blocked.as_ref().map_or_else(
                || format!("is in uninterruptible sleep{inside}"),
                |blocked| {
                    let wait = wait(blocked, &seen.endpoints);
                    format!("{wait}, in uninterruptible sleep{inside}")
                },
            )
        }
        Activity::Stopped => "is stopped (SIGSTOP)".to_owned(),
        Activity::Traced { tracer: None } => "is stopped by its tracer".to_owned(),
        Activity::Traced { tracer: Some(peer) } => {
            format!("is stopped by its tracer, {}", process(peer))
        }
        Activity::Frozen => "is frozen by its control group".to_owned(),
        Activity::Zombie => "has ended".to_owned(),
        Activity::Dead => "is gone".to_owned(),
        Activity::Reused => "is gone, and another thread has its id".to_owned(),
        Activity::Unknown => "could not be looked at".to_owned(),
    }
}

fn wait(blocked: &Blocked, endpoints: &[Endpoint]) -> String {
    let call = format!("{}()", blocked.call);
    let mut text = match blocked.action {
        Action::Sleep => format!("sleeps in {call}"),
        Action::Signal => format!("waits for a signal in {call}"),
        Action::Child if blocked.children.is_empty() => format!("waits for a child in {call}"),
        Action::Child => format!("waits for {} in {call}", processes(&blocked.children)),
        _ => format!("waits in {call}"),
    };
    // Writing to a string does not fail.
    if let Some(futex) = &blocked.futex {
        let _ = write!(text, " on the futex at {:#x}", futex.address);
    }
    // A socket says itself what it is connected to.
    if let Some(path) = &blocked.path
        && blocked.action != Action::Connect
    {
        let _ = write!(text, " on {path}");
    }
    for (index, endpoint) in endpoints.iter().take(MAX_NAMED).enumerate() {
        text.push_str(if index == 0 { " on " } else { "; " });
        text.push_str(&self::endpoint(blocked.action, endpoint));
    }
    let unnamed = u64::try_from(endpoints.len().saturating_sub(MAX_NAMED)).unwrap_or(0);
    more(&mut text, unnamed.saturating_add(blocked.more_fds));
    match blocked.timeout {
        Some(Timeout::Span(0)) | None => {}
        Some(Timeout::Span(ns)) if blocked.action == Action::Sleep => {
            let _ = write!(text, " of {}", duration(ns));
        }
        Some(Timeout::Span(ns)) => {
            let _ = write!(text, ", for at most {}", duration(ns));
        }
        Some(Timeout::Left(ns)) => {
            let _ = write!(text, ", {} left", duration(ns));
        }
    }
    text
}

pub(super) fn endpoint(action: Action, endpoint: &Endpoint) -> String {
    let object = object(action, endpoint.side, &endpoint.object);
    format!("fd {}, {object}", endpoint.fd)
}

fn object(action: Action, side: Side, object: &Object) -> String {
    match object {
        Object::File {
            path,
            filesystem,
            lock_holder,
            servers,
            ..
        } => {
            let mut text = path.clone();
            if let Some(filesystem) = filesystem {
                let _ = write!(text, " ({filesystem})");
            }
            if !servers.is_empty() {
                let _ = write!(text, " of {}", processes(servers));
            }
            if let Some(holder) = lock_holder {
                let _ = write!(text, ", locked by {}", process(holder));
            }
            text
        }
        Object::Device { path } => path.clone(),
        Object::Pipe { peers, .. } => ends("pipe", side, peers),
        Object::Fifo { path, peers } => ends(&format!("FIFO {path}"), side, peers),
        Object::Socket {
            protocol,
            socket,
            peers,
            ..
        } => match (socket, protocol) {
            (Some(socket), _) => self::socket(action, side, socket, peers),
            (None, Some(protocol)) => format!("{protocol} socket"),
            (None, None) => "socket".to_owned(),
        },
        Object::Epoll { watched, more } => epoll(watched, *more),
        Object::Timer { left_ns: Some(ns) } => format!("timer with {} left", duration(*ns)),
        Object::Timer { left_ns: None } => "timer that is not armed".to_owned(),
        Object::Process {
            process: Some(peer),
        } => process(peer),
        Object::Process { process: None } => "process that has ended".to_owned(),
        Object::Event { peers, .. } => ends("eventfd", side, peers),
        Object::Ring(pending) => ring(pending),
        Object::Anonymous { name } => name.clone(),
        Object::Unknown => "which could not be looked at".to_owned(),
    }
}

fn epoll(watched: &[Endpoint], unread: u64) -> String {
    let count = u64::try_from(watched.len())
        .unwrap_or(u64::MAX)
        .saturating_add(unread);
    let mut text = match count {
        1 => "epoll of 1 descriptor".to_owned(),
        _ => format!("epoll of {count} descriptors"),
    };
    let named = u64::try_from(watched.len().min(MAX_NAMED)).unwrap_or(0);
    let first = if named < count {
        ", none ready, e.g. "
    } else {
        ": "
    };
    for (index, endpoint) in watched.iter().take(MAX_NAMED).enumerate() {
        text.push_str(if index == 0 { first } else { "; " });
        text.push_str(&self::endpoint(Action::Poll, endpoint));
    }
    text
}

fn ring(ring: &Ring) -> String {
    let mut text = "io_uring".to_owned();
    match ring.polled.as_slice() {
        [] => text.push_str(", requests in flight not known"),
        [one] => {
            let _ = write!(
                text,
                " with a request that is not ready, {}",
                operation(*one)
            );
        }
        [first, ..] => {
            let count = ring.polled.len();
            let _ = write!(
                text,
                " with {count} requests that are not ready, e.g. {}",
                operation(*first)
            );
        }
    }
    if ring.completed > 0 {
        let _ = write!(text, ", {} completed and not taken", ring.completed);
    }
    text
}

/// `IORING_OP_*` (`include/uapi/linux/io_uring.h`) of those that wait for descriptors.
fn operation(number: u32) -> String {
    let name = match number {
        1 => "readv",
        2 => "writev",
        6 => "poll_add",
        9 => "sendmsg",
        10 => "recvmsg",
        13 => "accept",
        16 => "connect",
        22 => "read",
        23 => "write",
        26 => "send",
        27 => "recv",
        _ => return format!("operation {number}"),
    };
    name.to_owned()
}

fn ends(what: &str, side: Side, peers: &[Peer]) -> String {
    let way = match side {
        Side::In => "from",
        Side::Out => "to",
        Side::Both => "with",
    };
    match peers {
        [] => what.to_owned(),
        peers => format!("{what} {way} {}", processes(peers)),
    }
}

fn socket(action: Action, side: Side, socket: &Socket, peers: &[Peer]) -> String {
    let protocol = socket.protocol;
    let mut text = match &socket.peer {
        _ if socket.is_listener() => {
            let pending = match socket.receive_queue {
                0 => "no connection pending".to_owned(),
                1 => "1 connection pending".to_owned(),
                count => format!("{count} connections pending"),
            };
            return format!("{protocol} listening on {}, {pending}", socket.local);
        }
        Some(peer) if !matches!(peer, Address::Unix(name) if name.is_empty()) => {
            format!("{protocol} to {peer}")
        }
        _ => match &socket.local {
            Address::Unix(name) if name.is_empty() => protocol.to_string(),
            local => format!("{protocol} at {local}"),
        },
    };
    if !peers.is_empty() {
        let word = match protocol {
            Protocol::Unix if text == "unix socket" => "to",
            _ => "of",
        };
        let _ = write!(text, " {word} {}", processes(peers));
    }
    if protocol == Protocol::Tcp {
        let _ = write!(text, ", {}", socket.state);
    }
    match side {
        Side::In => incoming(&mut text, action, socket),
        Side::Out => outgoing(&mut text, socket),
        Side::Both => {}
    }
    text
}

fn incoming(text: &mut String, action: Action, socket: &Socket) {
    if socket.receive_queue > 0 {
        let _ = write!(
            text,
            ", {} received and not read",
            bytes(socket.receive_queue)
        );
    } else if let Some(tcp) = &socket.tcp
        && matches!(action, Action::Receive | Action::Poll)
    {
        let since = duration(tcp.last_data_recv_ms.saturating_mul(1_000_000));
        let _ = write!(text, ", nothing received for {since}");
    }
}

fn outgoing(text: &mut String, socket: &Socket) {
    let Some(tcp) = &socket.tcp else {
        if socket.send_queue > 0 {
            let _ = write!(text, ", {} not read by the peer", bytes(socket.send_queue));
        }
        return;
    };
    if socket.send_queue > 0 && socket.state != "SYN_SENT" {
        let since = duration(tcp.last_data_sent_ms.saturating_mul(1_000_000));
        let _ = write!(
            text,
            ", {} in the send queue, {} unacknowledged, nothing sent for {since}",
            bytes(socket.send_queue),
            bytes(tcp.unacked_bytes),
        );
    }
    if socket.timer == Some(Timer::WindowProbe) {
        text.push_str(", the peer accepts no more");
    } else if tcp.retransmits > 0 {
        let _ = write!(text, ", sent again {} times", tcp.retransmits);
    }
}

fn process(peer: &Peer) -> String {
    match peer.comm.as_str() {
        "" => format!("process {}", peer.pid),
        comm => format!("process {} ({comm})", peer.pid),
    }
}

fn processes(peers: &[Peer]) -> String {
    let mut text = String::new();
    for (index, peer) in peers.iter().take(MAX_NAMED).enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(&process(peer));
    }
    let unnamed = peers.len().saturating_sub(MAX_NAMED);
    more(&mut text, u64::try_from(unnamed).unwrap_or(0));
    text
}

fn more(text: &mut String, count: u64) {
    if count > 0 {
        let _ = write!(text, " and {count} more");
    }
}

/// `350 ms`, `3.5 s`, `41 s`, `12 min`, `5 h`.
fn duration(ns: u64) -> String {
    let ms = ns / 1_000_000;
    match ms {
        0 if ns > 0 => format!("{} us", ns.div_ceil(1000)),
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 if ms % 1000 >= 100 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        1_000..120_000 => format!("{} s", ms / 1000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

/// `12 B`, `300 KiB`, `4 MiB`.
fn bytes(count: u64) -> String {
    match count {
        0..10_240 => format!("{count} B"),
        10_240..10_485_760 => format!("{} KiB", count / 1024),
        _ => format!("{} MiB", count / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for (ns, text) in [
            (0, "0 ms"),
            (1, "1 us"),
            (350_000_000, "350 ms"),
            (3_000_000_000, "3 s"),
            (3_590_000_000, "3.5 s"),
            (41_900_000_000, "41 s"),
            (600_000_000_000, "10 min"),
            (u64::MAX, "5124095 h"),
        ] {
            assert_eq!(duration(ns), text);
        }
        assert_eq!(bytes(300 * 1024), "300 KiB");
        assert_eq!(bytes(u64::MAX), "17592186044415 MiB");
    }

    fn redis() -> Socket {
        Socket {
            inode: 1,
            protocol: Protocol::Tcp,
            state: "ESTABLISHED".to_owned(),
            local: Address::Inet("10.0.0.1:40000".parse().unwrap()),
            peer: Some(Address::Inet("10.0.3.7:6379".parse().unwrap())),
            receive_queue: 0,
            send_queue: 0,
            timer: None,
            tcp: Some(crate::explain::net::Tcp {
                last_data_recv_ms: 41_200,
                ..Default::default()
            }),
            peer_inode: None,
        }
    }

    #[test]
    fn the_sentence_of_a_silent_peer() {
        let blocked = Blocked {
            call: "recvfrom".to_owned(),
            action: Action::Receive,
            fds: vec![],
            more_fds: 0,
            timeout: None,
            children: vec![],
            futex: None,
            path: None,
            ipc: None,
        };
        let endpoint = Endpoint {
            fd: 9,
            side: Side::In,
            object: Object::Socket {
                inode: 1,
                protocol: None,
                socket: Some(redis()),
                peers: vec![],
            },
        };
        assert_eq!(
            wait(&blocked, &[endpoint]),
            "waits in recvfrom() on fd 9, TCP to 10.0.3.7:6379, ESTABLISHED, nothing received for 41 s"
        );
    }

    #[test]
    fn the_sentence_of_a_peer_that_stopped_reading() {
        let mut socket = redis();
        socket.send_queue = 3 << 20;
        socket.timer = Some(Timer::WindowProbe);
        let text = self::socket(Action::Send, Side::Out, &socket, &[]);
        assert_eq!(
            text,
            "TCP to 10.0.3.7:6379, ESTABLISHED, 3072 KiB in the send queue, 0 B unacknowledged, \
             nothing sent for 0 ms, the peer accepts no more"
        );
    }
}
