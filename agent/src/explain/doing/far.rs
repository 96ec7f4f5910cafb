//! The far end of what threads wait on: sockets, pipes and file locks of a whole batch, each source asked once.

use std::{
    collections::{HashMap, HashSet},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::Instant,
};

use super::{
    blocked::Side,
    call::Action,
    ends::{self, Ends, Holder, Key},
    locks,
    object::{Endpoint, Object, Peer},
    observe::Observation,
    procfs,
};
use crate::explain::net::{self, Wanted};

/// Fills in what sock_diag, `/proc/locks` and the descriptors of other processes say.
pub(super) fn fill(observations: &mut [Observation], deadline: Instant) {
    sockets(observations, deadline);
    let mut keys = HashSet::new();
    for observation in observations.iter_mut() {
        each(&mut observation.endpoints, &mut |endpoint| {
            keys.extend(key(&endpoint.object));
        });
    }
    let ends = ends::find(&keys, deadline);
    for observation in observations.iter_mut() {
        let pid = observation.look.pid;
        let mut is_missing = false;
        each(&mut observation.endpoints, &mut |endpoint| {
            is_missing |= ends.is_partial && key(&endpoint.object).is_some();
            peers(endpoint, pid, &ends);
        });
        observation.is_partial |= is_missing;
    }
    file_locks(observations);
}

/// Visits endpoints and those in their epoll sets, which hold no further sets.
fn each(endpoints: &mut [Endpoint], visit: &mut impl FnMut(&mut Endpoint)) {
    for endpoint in endpoints {
        visit(endpoint);
        if let Object::Epoll { watched, .. } = &mut endpoint.object {
            watched.iter_mut().for_each(&mut *visit);
        }
    }
}

/// Sockets to look up in one network namespace.
#[derive(Default)]
struct Namespace {
    path: PathBuf,
    wanted: HashSet<Wanted>,
}

fn sockets(observations: &mut [Observation], deadline: Instant) {
    let mut namespaces: HashMap<(u64, u64), Namespace> = HashMap::new();
    let mut homes = Vec::with_capacity(observations.len());
    for observation in observations.iter_mut() {
        let mut wanted = Vec::new();
        let listener = observation
            .blocked
            .as_ref()
            .filter(|blocked| blocked.action == Action::Connect)
            .and_then(|blocked| blocked.path.clone());
        each(&mut observation.endpoints, &mut |endpoint| {
            if let Object::Socket {
                inode, protocol, ..
            } = &endpoint.object
            {
                wanted.push(Wanted {
                    inode: *inode,
                    protocol: protocol.clone(),
                    listener: listener.clone(),
                });
            }
        });
        if wanted.is_empty() {
            homes.push(None);
            continue;
        }
        let path = procfs::task(observation.look.pid, observation.look.tid, "ns/net");
        let home = std::fs::metadata(&path)
            .ok()
            .map(|metadata| (metadata.dev(), metadata.ino()));
        homes.push(home);
        observation.is_partial |= home.is_none();
        if let Some(home) = home {
            let namespace = namespaces.entry(home).or_default();
            namespace.path = path;
            namespace.wanted.extend(wanted);
        }
    }
    let found: HashMap<_, _> = namespaces
        .into_iter()
        .map(|(home, namespace)| {
            let wanted: Vec<_> = namespace.wanted.into_iter().collect();
            (home, net::find(&namespace.path, &wanted, deadline))
        })
        .collect();
    for (observation, home) in observations.iter_mut().zip(homes) {
        let Some(found) = home.and_then(|home| found.get(&home)) else {
            continue;
        };
        observation.is_partial |= found.error.is_some();
        each(&mut observation.endpoints, &mut |endpoint| {
            if let Object::Socket { inode, socket, .. } = &mut endpoint.object {
                *socket = found.sockets.get(inode).cloned();
            }
        });
    }
}

/// What the other end would have open.
fn key(object: &Object) -> Option<Key> {
    match object {
        Object::Pipe { inode, .. } => Some(Key::Pipe(*inode)),
        Object::Fifo { path, .. } => Some(Key::Path(path.clone())),
        Object::Event { id, .. } => id.map(Key::Event),
        Object::Socket {
            socket: Some(socket),
            ..
        } => socket.peer_inode.map(Key::Socket),
        Object::File {
            connection: Some(connection),
            ..
        } => Some(Key::Fuse(Some(*connection))),
        _ => None,
    }
}

fn peers(endpoint: &mut Endpoint, pid: u32, ends: &Ends) {
    let Some(key) = key(&endpoint.object) else {
        return;
    };
    let holders = match ends.holders.get(&key) {
        Some(holders) => holders.as_slice(),
        None if matches!(key, Key::Fuse(_)) => only_server(ends),
        None => &[],
    };
    let side = endpoint.side;
    let (Object::Pipe { peers, .. }
    | Object::Fifo { peers, .. }
    | Object::Event { peers, .. }
    | Object::Socket { peers, .. }
    | Object::File { servers: peers, .. }) = &mut endpoint.object
    else {
        return;
    };
    let has_one_side = matches!(key, Key::Socket(_) | Key::Fuse(_));
    let is_other_end = |holder: &&Holder| match side {
        _ if has_one_side => true,
        _ if holder.pid == pid && holder.fd == endpoint.fd => false,
        Side::In => holder.writes,
        Side::Out => holder.reads,
        Side::Both => true,
    };
    let mut found: Vec<&Holder> = holders.iter().filter(is_other_end).collect();
    // The walk is by process, so that descriptors of one are neighbours.
    found.dedup_by_key(|holder| holder.pid);
    found.sort_by_key(|holder| holder.pid == pid);
    *peers = found
        .into_iter()
        .map(|holder| Peer::of(holder.pid, Some(holder.fd)))
        .collect();
}

/// Where the kernel does not say who serves which file system: the program that serves one, if there is but one.
fn only_server(ends: &Ends) -> &[Holder] {
    let servers = ends.holders.get(&Key::Fuse(None));
    let servers = servers.map_or(&[][..], Vec::as_slice);
    match servers {
        _ if ends.says_connections => &[],
        [first, rest @ ..] if rest.iter().all(|other| other.pid == first.pid) => servers,
        _ => &[],
    }
}

fn file_locks(observations: &mut [Observation]) {
    let mut text = None;
    for observation in observations {
        let waits = observation
            .blocked
            .as_ref()
            .is_some_and(|blocked| blocked.action == Action::FileLock);
        if !waits {
            continue;
        }
        let text =
            text.get_or_insert_with(|| procfs::text("/proc/locks".as_ref()).unwrap_or_default());
        for endpoint in &mut observation.endpoints {
            if let Object::File {
                inode, lock_holder, ..
            } = &mut endpoint.object
            {
                *lock_holder = locks::holder(text, observation.look.pid, *inode)
                    .map(|holder| Peer::of(holder, None));
            }
        }
    }
}
