//! INET_DIAG: requests for TCP and UDP sockets, and their answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    netlink::{array_at, attributes, u8_at, u32_at, u64_at},
    socket::{Address, Protocol, Socket, Tcp, Timer, state_name},
};

/// Length of `struct inet_diag_msg`.
const MESSAGE: usize = 72;
/// `INET_DIAG_INFO`: `struct tcp_info`.
const INFO: u16 = 2;
/// All states.
const ALL_STATES: u32 = 0xfff;

/// Asks for all sockets of a family (`AF_INET`, `AF_INET6`): to be sent as a dump.
pub(super) fn all(family: libc::c_int, protocol: Protocol) -> Vec<u8> {
    let mut bytes = head(family, protocol);
    bytes.extend([0; 48]);
    bytes
}

/// Asks for the one TCP socket at `local` that is connected to `peer`.
pub(super) fn one(local: SocketAddr, peer: SocketAddr) -> Option<Vec<u8>> {
    let (family, local_ip, peer_ip) = match (local.ip(), peer.ip()) {
        (IpAddr::V4(local), IpAddr::V4(peer)) => (libc::AF_INET, padded(local), padded(peer)),
        (IpAddr::V6(local), IpAddr::V6(peer)) => (libc::AF_INET6, local.octets(), peer.octets()),
        _ => return None,
    };
    let mut bytes = head(family, Protocol::Tcp);
    bytes.extend(local.port().to_be_bytes());
    bytes.extend(peer.port().to_be_bytes());
    bytes.extend(local_ip);
    bytes.extend(peer_ip);
    bytes.extend([0; 4]); // any interface
    bytes.extend([0xff; 8]); // any cookie
    Some(bytes)
}

fn padded(address: Ipv4Addr) -> [u8; 16] {
    let [a, b, c, d] = address.octets();
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// `struct inet_diag_req_v2` up to its address.
fn head(family: libc::c_int, protocol: Protocol) -> Vec<u8> {
    let protocol = match protocol {
        Protocol::Tcp => libc::IPPROTO_TCP,
        Protocol::Udp | Protocol::Unix => libc::IPPROTO_UDP,
    };
    let mut bytes = Vec::with_capacity(56);
    bytes.push(u8::try_from(family).unwrap_or(0));
    bytes.push(u8::try_from(protocol).unwrap_or(0));
    bytes.push(1 << (INFO - 1));
    bytes.push(0);
    bytes.extend(ALL_STATES.to_ne_bytes());
    bytes
}

/// The inode in an answer, without decoding the rest.
pub(super) fn inode(payload: &[u8]) -> Option<u64> {
    u32_at(payload, 68).map(u64::from)
}

/// Decodes an answer.
pub(super) fn decode(payload: &[u8], protocol: Protocol) -> Option<Socket> {
    let family = libc::c_int::from(u8_at(payload, 0)?);
    let local = address(payload, family, 4, 8)?;
    let peer = address(payload, family, 6, 24)?;
    let send_queue = u32_at(payload, 60)?.into();
    let tcp = attributes(payload.get(MESSAGE..)?)
        .find(|&(kind, _)| kind == INFO)
        .filter(|_| protocol == Protocol::Tcp)
        .map(|(_, info)| tcp(info, send_queue));
    Some(Socket {
        inode: inode(payload)?,
        protocol,
        state: state_name(u8_at(payload, 1)?, protocol),
        local: Address::Inet(local),
        peer: (peer.port() != 0).then_some(Address::Inet(peer)),
        receive_queue: u32_at(payload, 56)?.into(),
        send_queue,
        timer: match u8_at(payload, 2)? {
            1 => Some(Timer::Retransmit),
            2 => Some(Timer::Keepalive),
            3 => Some(Timer::TimeWait),
            4 => Some(Timer::WindowProbe),
            _ => None,
        },
        tcp,
        peer_inode: None,
    })
}

fn address(
    payload: &[u8],
    family: libc::c_int,
    port_at: usize,
    ip_at: usize,
) -> Option<SocketAddr> {
    let ip = match family {
        libc::AF_INET => IpAddr::from(array_at::<4>(payload, ip_at)?),
        libc::AF_INET6 => {
            IpAddr::from(Ipv6Addr::from(array_at::<16>(payload, ip_at)?)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(
        ip,
        u16::from_be_bytes(array_at(payload, port_at)?),
    ))
}

/// `struct tcp_info`, which grows at its end: fields that an old kernel does not have are 0.
fn tcp(info: &[u8], send_queue: u64) -> Tcp {
    let byte = |at| u8_at(info, at).unwrap_or(0).into();
    let word = |at| u32_at(info, at).unwrap_or(0).into();
    let long = |at| u64_at(info, at).unwrap_or(0);
    let notsent_bytes = word(144);
    Tcp {
        retransmits: byte(2),
        probes: byte(3),
        total_retransmits: word(100),
        unacked_bytes: send_queue.saturating_sub(notsent_bytes),
        notsent_bytes,
        rto_us: word(8),
        rtt_us: word(68),
        last_data_sent_ms: word(44),
        last_data_recv_ms: word(52),
        last_ack_recv_ms: word(56),
        bytes_acked: long(120),
        bytes_received: long(128),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer() -> Vec<u8> {
        let mut bytes = vec![2, 1, 4, 0];
        bytes.extend(6379_u16.to_be_bytes());
        bytes.extend(40000_u16.to_be_bytes());
        bytes.extend(padded(Ipv4Addr::LOCALHOST));
        bytes.extend(padded(Ipv4Addr::new(10, 0, 3, 7)));
        bytes.extend([0; 16]); // interface, cookie, expires
        for word in [11_u32, 22, 0, 4711] {
            bytes.extend(word.to_ne_bytes());
        }
        let info: Vec<u8> = (0..200).collect();
        bytes.extend([204, 0, 2, 0]);
        bytes.extend(info);
        bytes
    }

    #[test]
    fn a_connection() {
        let socket = decode(&answer(), Protocol::Tcp).unwrap();
        assert_eq!(socket.inode, 4711);
        assert_eq!(socket.state, "ESTABLISHED");
        assert_eq!(socket.local.to_string(), "127.0.0.1:6379");
        assert_eq!(socket.peer.unwrap().to_string(), "10.0.3.7:40000");
        assert_eq!((socket.receive_queue, socket.send_queue), (11, 22));
        assert_eq!(socket.timer, Some(Timer::WindowProbe));
        let tcp = socket.tcp.unwrap();
        assert_eq!(tcp.last_data_recv_ms, 0x3736_3534);
        assert_eq!(tcp.bytes_received, 0x8786_8584_8382_8180);
    }

    #[test]
    fn requests_have_the_kernels_size() {
        let v4 = "127.0.0.1:1".parse().unwrap();
        let v6 = "[::1]:1".parse().unwrap();
        assert_eq!(all(libc::AF_INET, Protocol::Udp).len(), 56);
        assert_eq!(one(v4, v4).unwrap().len(), 56);
        assert_eq!(one(v6, v6).unwrap().len(), 56);
        assert_eq!(one(v6, v4), None);
    }

    proptest! {
        #[test]
        fn any_damage_is_survived(
            family in prop_oneof![Just(2_u8), Just(10), any::<u8>()],
            protocol in prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)],
            damage in proptest::collection::vec((1..276_usize, any::<u8>()), 0..16),
            length in 0..276_usize,
        ) {
            let mut bytes = answer();
            bytes[0] = family;
            for (at, byte) in damage {
                bytes[at] = byte;
            }
            let socket = decode(&bytes[..length], protocol);
            let is_known = [2, 10].contains(&family);
            prop_assert_eq!(socket.is_some(), length >= MESSAGE && is_known);
            prop_assert!(socket.is_none_or(|socket| socket.tcp.is_none() || protocol == Protocol::Tcp));
        }
    }
}
