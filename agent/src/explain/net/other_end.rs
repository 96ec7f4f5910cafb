//! The other end of a connection, when it is in the same network namespace.

use std::net::SocketAddr;

use super::{
    Error,
    channel::Channel,
    inet, netlink,
    socket::{Address, Protocol, Socket},
    unix,
};

/// Inode of the socket at the other end of a TCP connection; of the listener, while the connection waits to be
/// accepted.
pub(super) fn of_tcp(channel: &mut Channel, socket: &Socket) -> Result<Option<u64>, Error> {
    let (Protocol::Tcp, Address::Inet(local), Some(Address::Inet(peer))) =
        (socket.protocol, &socket.local, &socket.peer)
    else {
        return Ok(None);
    };
    let Some(answer) = ask_inet(channel, *peer, *local)? else {
        return Ok(None);
    };
    if answer.is_listener() {
        // The kernel looks for a listener when there is no such connection, and one for any address fits one of
        // another machine.
        let is_here = peer.ip().is_loopback() || peer.ip() == local.ip();
        let is_connecting = socket.state == "SYN_SENT";
        return Ok((is_here && is_connecting).then_some(answer.inode));
    }
    if answer.peer != Some(Address::Inet(*local)) {
        return Ok(None);
    }
    if answer.inode != 0 {
        // A connection to itself has one end.
        return Ok(Some(answer.inode).filter(|&inode| inode != socket.inode));
    }
    if answer.state != "ESTABLISHED" && answer.state != "SYN_RECV" {
        // Closed by its process.
        return Ok(None);
    }
    // Without an inode it belongs to no process yet. No connection comes from port 0, so this finds the listener.
    let nobody = SocketAddr::new(local.ip(), 0);
    let listener = ask_inet(channel, *peer, nobody)?;
    Ok(listener
        .filter(Socket::is_listener)
        .map(|listener| listener.inode))
}

fn ask_inet(
    channel: &mut Channel,
    local: SocketAddr,
    peer: SocketAddr,
) -> Result<Option<Socket>, Error> {
    let Some(request) = inet::one(local, peer) else {
        return Ok(None);
    };
    let mut answer = None;
    channel.ask(0, &request, |payload| {
        answer = inet::decode(payload, Protocol::Tcp);
        false
    })?;
    Ok(answer)
}

/// The unix socket with this inode, and the name of the one it is connected to.
pub(super) fn unix(channel: &mut Channel, inode: u64) -> Result<Option<Socket>, Error> {
    let Some(mut socket) = ask_unix(channel, inode)? else {
        return Ok(None);
    };
    if let Some(peer) = socket.peer_inode {
        socket.peer = ask_unix(channel, peer)?.map(|peer| peer.local);
    }
    Ok(Some(socket))
}

/// Fills in the listener that a unix socket waits to be connected to (`name`) or to be accepted by.
pub(super) fn listener(
    channel: &mut Channel,
    name: Option<&str>,
    socket: &mut Socket,
) -> Result<(), Error> {
    let address = name.map(|name| Address::Unix(name.to_owned()));
    let inode = u32::try_from(socket.inode).unwrap_or(0);
    channel.ask(netlink::DUMP, &unix::listeners(), |payload| {
        let is_it = |found: &Socket| match &address {
            Some(address) => found.local == *address,
            None => unix::is_pending(payload, inode),
        };
        if let Some(found) = unix::decode(payload).filter(is_it) {
            socket.peer_inode = Some(found.inode);
            socket.peer = Some(found.local);
        }
        socket.peer_inode.is_none()
    })
}

fn ask_unix(channel: &mut Channel, inode: u64) -> Result<Option<Socket>, Error> {
    let Ok(number) = u32::try_from(inode) else {
        return Ok(None);
    };
    let mut found = None;
    channel.ask(0, &unix::one(number), |payload| {
        found = unix::decode(payload).filter(|socket| socket.inode == inode);
        false
    })?;
    Ok(found)
}
