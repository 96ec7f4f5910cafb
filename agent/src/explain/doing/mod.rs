//! What a thread is doing, from `/proc` and sock_diag alone: nothing is attached, nothing is stopped.
//!
//! [`observe`] twice, some tens of milliseconds apart, then [`conclude`]: the first look says where a thread is, the
//! second whether it gets anywhere. Who holds which user-space lock is not told here.

mod activity;
mod blocked;
mod call;
mod child;
mod complete;
mod descriptors;
mod ends;
mod far;
mod fdinfo;
mod locks;
mod look;
mod mounts;
mod object;
mod observe;
mod parse;
mod pollset;
mod procfs;
mod text;
mod timeout;

pub use activity::{Activity, Progress, compare, progress};
pub use blocked::{Blocked, Fd, Futex, Side, blocked};
pub use call::Action;
pub use descriptors::descriptors;
pub use fdinfo::Ring;
pub use look::{Call, Look, Place, State, look};
pub use object::{Endpoint, Object, Peer};
pub use observe::{Observation, observe};
use serde::{Deserialize, Serialize};
pub use text::describe;
pub use timeout::Timeout;

/// What a thread is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doing {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Thread name; empty when it is gone.
    pub comm: String,
    /// What it does.
    #[serde(flatten)]
    pub activity: Activity,
    /// The system call it is in.
    pub call: Option<Blocked>,
    /// What the call waits on.
    pub endpoints: Vec<Endpoint>,
    /// Whether it gets anywhere.
    pub progress: Progress,
    /// Time between the looks in nanoseconds: how long `progress` was watched.
    pub watched_ns: u64,
    /// Some of it could not be looked at in time, or is not permitted.
    pub is_partial: bool,
    /// The rest of a sentence that begins with the thread's name.
    pub text: String,
}

/// A process that a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead<'a> {
    /// What it is to the thread.
    pub relation: Relation,
    /// The thread's descriptor that leads there.
    pub fd: Option<i32>,
    /// The process.
    pub peer: &'a Peer,
    /// The descriptor is one of a set of them: any one will do.
    pub in_set: bool,
}

/// What a process is to a thread that waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// It has the other end of a pipe or a connection.
    OtherEnd,
    /// It serves the file system of a file.
    Server,
    /// It holds the lock of a file.
    LockHolder,
    /// It is a child that has to end, or, after a vfork, to run another program.
    Child,
    /// It has to end.
    Awaited,
    /// It stopped the thread to debug it.
    Tracer,
}

impl Doing {
    /// The processes that a chain leads on to. Never its own process.
    pub fn leads(&self) -> impl Iterator<Item = Lead<'_>> {
        let tracer = match &self.activity {
            Activity::Traced { tracer } => Some(tracer.as_ref()),
            _ => None,
        };
        // What a thread was doing when its tracer stopped it is not what it waits for.
        let call = self.call.iter().filter(move |_| tracer.is_none());
        let endpoints = call.clone().flat_map(|_| &self.endpoints);
        let parts = endpoints.flat_map(|whole| {
            let parts = whole.parts().iter();
            parts.map(|part| (whole.is_set(), part))
        });
        let ends = parts.flat_map(|(in_set, endpoint)| {
            let (relation, peers, one) = match &endpoint.object {
                Object::Pipe { peers, .. }
                | Object::Fifo { peers, .. }
                | Object::Event { peers, .. }
                | Object::Socket { peers, .. } => (Relation::OtherEnd, peers.as_slice(), None),
                Object::File {
                    lock_holder: Some(holder),
                    ..
                } => (Relation::LockHolder, &[][..], Some(holder)),
                Object::File { servers, .. } => (Relation::Server, servers.as_slice(), None),
                Object::Process { process } => (Relation::Awaited, &[][..], process.as_ref()),
                _ => (Relation::OtherEnd, &[][..], None),
            };
            let fd = Some(endpoint.fd);
            let lead = move |peer| Lead {
                relation,
                fd,
                peer,
                in_set,
            };
            peers.iter().chain(one).map(lead)
        });
        let without_fd = |relation| {
            move |peer| Lead {
                relation,
                fd: None,
                peer,
                in_set: false,
            }
        };
        let children = call.flat_map(|call| &call.children);
        ends.chain(children.map(without_fd(Relation::Child)))
            .chain(tracer.flatten().map(without_fd(Relation::Tracer)))
            .filter(|lead| lead.peer.pid != self.pid)
    }
}

/// The descriptor that a system call is made on, if it is made on one: `read`, `recvfrom`, `connect` and the like, but
/// not those that wait for a set of them.
#[must_use]
pub fn descriptor(number: i64, arguments: &[u64; 6]) -> Option<i32> {
    let row = call::row(&call::name(u64::try_from(number).ok()?));
    let index = match row.operand {
        call::Operand::Fd(index) if row.action != Action::Poll => index,
        call::Operand::Address => 0,
        _ => return None,
    };
    // What the kernel takes for an `int`.
    let fd = u32::try_from(arguments.get(index)? & u64::from(u32::MAX)).ok()?;
    i32::try_from(fd).ok()
}

/// Concludes from two observations of the same thread, the earlier one first. With the same one twice, `progress` is
/// unknown.
#[must_use]
pub fn conclude(first: &Observation, second: &Observation) -> Doing {
    let activity = compare(&first.look, &second.look);
    let is_alive = !matches!(
        activity,
        Activity::Dead | Activity::Zombie | Activity::Reused
    );
    let mut progress = progress(&first.look, &second.look);
    if progress == Progress::Stuck && is_alive && bytes_moved(first, second) {
        progress = Progress::Progressing;
    }
    let second = &complete::complete(first, second);
    Doing {
        pid: second.look.pid,
        tid: second.look.tid,
        comm: second.look.comm.clone(),
        text: describe(&activity, second),
        activity,
        call: second.blocked.clone(),
        endpoints: second.endpoints.clone(),
        progress,
        watched_ns: second.look.at_ns.saturating_sub(first.look.at_ns),
        is_partial: second.is_partial,
    }
}

/// Whether bytes passed on a connection that both looks found it waiting on: a big write to a slow peer is one long
/// sleep for the thread.
fn bytes_moved(first: &Observation, second: &Observation) -> bool {
    let traffic = |endpoint: &Endpoint| match &endpoint.object {
        Object::Socket {
            inode,
            socket: Some(socket),
            ..
        } => Some((*inode, socket.traffic())),
        _ => None,
    };
    let parts = |seen: &'_ Observation| -> Vec<(u64, _)> {
        let parts = seen.endpoints.iter().flat_map(Endpoint::parts);
        parts.filter_map(traffic).collect()
    };
    let before = parts(first);
    parts(second).into_iter().any(|(inode, now)| {
        before
            .iter()
            .any(|&(same, before)| same == inode && before != now)
    })
}
