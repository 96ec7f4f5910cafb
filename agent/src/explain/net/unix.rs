//! UNIX_DIAG: one unix socket by its inode.

use super::{
    netlink::{attributes, u8_at, u32_at},
    socket::{Address, Protocol, Socket, state_name},
};

/// Length of `struct unix_diag_msg`.
const MESSAGE: usize = 16;
/// `UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN`.
const SHOW: u32 = 0x01 | 0x04 | 0x10;
/// `UDIAG_SHOW_ICONS`: who waits to be accepted.
const SHOW_PENDING: u32 = 0x08;
/// Longest name: `sun_path`.
const MAX_NAME: usize = 108;

/// Asks for the socket with this inode.
pub(super) fn one(inode: u32) -> Vec<u8> {
    request(u32::MAX, inode, SHOW)
}

/// Asks for all sockets that wait for connections: to be sent as a dump.
pub(super) fn listeners() -> Vec<u8> {
    const LISTEN: u32 = 10;
    request(1 << LISTEN, 0, SHOW | SHOW_PENDING)
}

/// `struct unix_diag_req`.
fn request(states: u32, inode: u32, show: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(24);
    bytes.push(u8::try_from(libc::AF_UNIX).unwrap_or(1));
    bytes.extend([0; 3]);
    bytes.extend(states.to_ne_bytes());
    bytes.extend(inode.to_ne_bytes());
    bytes.extend(show.to_ne_bytes());
    bytes.extend([0xff; 8]); // any cookie
    bytes
}

/// Decodes an answer.
pub(super) fn decode(payload: &[u8]) -> Option<Socket> {
    let mut socket = Socket {
        inode: u32_at(payload, 4)?.into(),
        protocol: Protocol::Unix,
        state: state_name(u8_at(payload, 2)?, Protocol::Unix),
        local: Address::Unix(String::new()),
        peer: None,
        receive_queue: 0,
        send_queue: 0,
        timer: None,
        tcp: None,
        peer_inode: None,
    };
    for (kind, value) in attributes(payload.get(MESSAGE..)?) {
        match kind {
            0 => socket.local = Address::Unix(name(value)),
            2 => socket.peer_inode = u32_at(value, 0).map(u64::from).filter(|&inode| inode != 0),
            4 => {
                socket.receive_queue = u32_at(value, 0).unwrap_or(0).into();
                socket.send_queue = u32_at(value, 4).unwrap_or(0).into();
            }
            _ => {}
        }
    }
    Some(socket)
}

/// Whether the socket with this inode is one of those that wait to be accepted by the listener in an answer.
pub(super) fn is_pending(payload: &[u8], inode: u32) -> bool {
    let pending = attributes(payload.get(MESSAGE..).unwrap_or_default())
        .find(|&(kind, _)| kind == 3)
        .map_or(&[][..], |(_, pending)| pending);
    inode != 0
        && pending
            .chunks_exact(4)
            .any(|word| word == inode.to_ne_bytes())
}

/// What `sun_path` names. A path ends at a zero; an abstract name begins with one and may hold more.
pub(crate) fn name(bytes: &[u8]) -> String {
    let bytes = bytes.get(..MAX_NAME).unwrap_or(bytes);
    match bytes.split_first() {
        Some((0, rest)) => format!("@{}", String::from_utf8_lossy(rest)),
        _ => {
            let path = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
            String::from_utf8_lossy(path).into_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names() {
        assert_eq!(name(b"/run/x.sock\0\0"), "/run/x.sock");
        assert_eq!(name(b"\0abstract"), "@abstract");
        assert_eq!(name(b""), "");
        assert_eq!(name(&[b'a'; 500]).len(), MAX_NAME);
    }

    #[test]
    fn a_request_has_the_kernels_size() {
        assert_eq!(one(7).len(), 24);
    }

    #[test]
    fn a_pair() {
        let mut bytes = vec![1, 1, 1, 0];
        bytes.extend(7_u32.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend([8, 0, 2, 0]);
        bytes.extend(8_u32.to_ne_bytes());
        bytes.extend([12, 0, 4, 0]);
        bytes.extend(3_u32.to_ne_bytes());
        bytes.extend(4_u32.to_ne_bytes());
        let socket = decode(&bytes).unwrap();
        assert_eq!((socket.inode, socket.peer_inode), (7, Some(8)));
        assert_eq!((socket.receive_queue, socket.send_queue), (3, 4));
        assert_eq!(socket.state, "ESTABLISHED");
        bytes.extend([12, 0, 3, 0]);
        bytes.extend(9_u32.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        assert_eq!(
            [9, 0, 7].map(|inode| is_pending(&bytes, inode)),
            [true, false, false]
        );
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(0..20_u8, 0..128)) {
            prop_assert!(!is_pending(&bytes, u32::MAX));
            prop_assert_eq!(decode(&bytes).is_some(), bytes.len() >= MESSAGE);
        }
    }
}
