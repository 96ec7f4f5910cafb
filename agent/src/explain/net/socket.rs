//! What sock_diag says of a socket.

use std::{fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};

/// An end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Address {
    /// `10.0.3.7:6379`, `[::1]:80`; an IPv4 address inside an IPv6 socket is shown as IPv4.
    Inet(SocketAddr),
    /// Path of a unix socket, `@name` in the abstract name space; empty without a name.
    Unix(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(name) => f.write_str(name),
        }
    }
}

/// Transport of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP over IPv4 or IPv6.
    Tcp,
    /// UDP over IPv4 or IPv6.
    Udp,
    /// A unix socket of any type.
    Unix,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Unix => "unix socket",
        })
    }
}

/// What the kernel does about a TCP connection by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timer {
    /// Waits for an acknowledgement, and sends again when none comes.
    Retransmit,
    /// Keep-alive or a delayed acknowledgement.
    Keepalive,
    /// Waits for old segments to die.
    TimeWait,
    /// The peer accepts no more bytes: asks now and then whether it does.
    WindowProbe,
}

/// The fields of `tcp_info` that tell a slow peer from a silent one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tcp {
    /// Segments sent again since the last one that was acknowledged.
    pub retransmits: u64,
    /// Unanswered probes of a closed window or of an idle connection.
    pub probes: u64,
    /// Segments sent again over the connection's life.
    pub total_retransmits: u64,
    /// Bytes sent that the peer has not acknowledged.
    pub unacked_bytes: u64,
    /// Bytes written that were not sent yet.
    pub notsent_bytes: u64,
    /// Time until a segment is sent again, in microseconds.
    pub rto_us: u64,
    /// Smoothed round-trip time in microseconds.
    pub rtt_us: u64,
    /// Milliseconds since data were last sent; since the connection began when none were.
    pub last_data_sent_ms: u64,
    /// Milliseconds since data were last received; since the connection began when none were.
    pub last_data_recv_ms: u64,
    /// Milliseconds since the peer last acknowledged something.
    pub last_ack_recv_ms: u64,
    /// Bytes that the peer acknowledged over the connection's life.
    pub bytes_acked: u64,
    /// Bytes received over the connection's life.
    pub bytes_received: u64,
}

/// One socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// Inode, as in `socket:[INODE]`.
    pub inode: u64,
    /// Transport.
    pub protocol: Protocol,
    /// `ESTABLISHED`, `LISTEN`, `SYN_SENT`, ... as in `ss`; for unix and UDP sockets `UNCONNECTED` instead of `CLOSE`.
    pub state: String,
    /// Own address.
    pub local: Address,
    /// The other end's address; null when not connected.
    pub peer: Option<Address>,
    /// Bytes received that the program has not read; for a listener, connections that wait for accept.
    pub receive_queue: u64,
    /// Bytes written that the peer has not acknowledged (TCP) or read (unix); for a listener, most that may wait.
    pub send_queue: u64,
    /// What the kernel does by itself; null when nothing.
    pub timer: Option<Timer>,
    /// TCP only.
    pub tcp: Option<Tcp>,
    /// Inode of the other end, when that is on this machine and was found.
    pub peer_inode: Option<u64>,
}

impl Socket {
    /// Bytes that passed over the socket's life or wait in it: two values that differ show movement.
    #[must_use]
    pub fn traffic(&self) -> [u64; 4] {
        let tcp = self.tcp.unwrap_or_default();
        [
            tcp.bytes_acked,
            tcp.bytes_received,
            self.receive_queue,
            self.send_queue,
        ]
    }

    /// Whether it waits for connections.
    #[must_use]
    pub fn is_listener(&self) -> bool {
        self.state == "LISTEN"
    }
}

/// Name of a kernel socket state (`TCP_ESTABLISHED` is 1).
pub(super) fn state_name(state: u8, protocol: Protocol) -> String {
    let name = match state {
        1 => "ESTABLISHED",
        2 => "SYN_SENT",
        3 => "SYN_RECV",
        4 => "FIN_WAIT1",
        5 => "FIN_WAIT2",
        6 => "TIME_WAIT",
        7 if protocol != Protocol::Tcp => "UNCONNECTED",
        7 => "CLOSE",
        8 => "CLOSE_WAIT",
        9 => "LAST_ACK",
        10 => "LISTEN",
        11 => "CLOSING",
        12 => "NEW_SYN_RECV",
        _ => "UNKNOWN",
    };
    name.to_owned()
}
