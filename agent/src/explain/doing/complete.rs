//! Two looks that complete each other: on a busy machine one may run out of time before it has found the other ends.

use super::{
    object::{Endpoint, Object},
    observe::Observation,
};

/// The second look, with the other ends that only the first one had time to find.
pub(super) fn complete(first: &Observation, second: &Observation) -> Observation {
    let mut completed = second.clone();
    if !second.is_partial || first.is_partial || first.look.start_ticks != second.look.start_ticks {
        return completed;
    }
    let mut is_missing = completed.blocked.is_none();
    for endpoint in &mut completed.endpoints {
        let before = first
            .endpoints
            .iter()
            .find(|before| is_same(before, endpoint));
        match before {
            Some(before) => fill(&mut endpoint.object, &before.object),
            None => is_missing = true,
        }
    }
    completed.is_partial = is_missing;
    completed
}

/// Whether both are the same open thing under the same number.
fn is_same(before: &Endpoint, now: &Endpoint) -> bool {
    let same = match (&before.object, &now.object) {
        (Object::Pipe { inode: before, .. }, Object::Pipe { inode: now, .. })
        | (Object::Socket { inode: before, .. }, Object::Socket { inode: now, .. }) => {
            before == now
        }
        (Object::Event { id: before, .. }, Object::Event { id: now, .. }) => before == now,
        (Object::Fifo { path: before, .. }, Object::Fifo { path: now, .. })
        | (Object::File { path: before, .. }, Object::File { path: now, .. }) => before == now,
        _ => false,
    };
    same && before.fd == now.fd && before.side == now.side
}

fn fill(object: &mut Object, before: &Object) {
    if let (Object::Socket { socket: now, .. }, Object::Socket { socket: before, .. }) =
        (&mut *object, before)
        && now.is_none()
    {
        now.clone_from(before);
    }
    if let (
        Object::Pipe { peers: now, .. }
        | Object::Fifo { peers: now, .. }
        | Object::Event { peers: now, .. }
        | Object::Socket { peers: now, .. }
        | Object::File { servers: now, .. },
        Object::Pipe { peers: before, .. }
        | Object::Fifo { peers: before, .. }
        | Object::Event { peers: before, .. }
        | Object::Socket { peers: before, .. }
        | Object::File {
            servers: before, ..
        },
    ) = (object, before)
        && now.is_empty()
    {
        now.clone_from(before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::doing::{Action, Blocked, Fd, Look, Peer, Side};

    fn pipe(inode: u64, peers: &[u32]) -> Endpoint {
        let peer = |&pid| Peer {
            pid,
            comm: "feeder".to_owned(),
            fd: Some(4),
        };
        Endpoint {
            fd: 3,
            side: Side::In,
            object: Object::Pipe {
                inode,
                peers: peers.iter().map(peer).collect(),
            },
        }
    }

    fn seen(endpoint: Endpoint, is_partial: bool) -> Observation {
        let fd = Fd {
            fd: endpoint.fd,
            side: endpoint.side,
        };
        Observation {
            look: Look::unknown(1, 1),
            blocked: Some(Blocked {
                call: "read".to_owned(),
                action: Action::Receive,
                fds: vec![fd],
                more_fds: 0,
                timeout: None,
                children: Vec::new(),
                futex: None,
                path: None,
                ipc: None,
            }),
            endpoints: vec![endpoint],
            is_partial,
        }
    }

    #[test]
    fn a_look_that_ran_out_of_time_is_completed_by_the_one_before() {
        let completed = complete(&seen(pipe(7, &[20]), false), &seen(pipe(7, &[]), true));
        assert_eq!(completed.endpoints, [pipe(7, &[20])]);
        assert!(!completed.is_partial);
    }

    #[test]
    fn nothing_is_taken_from_another_pipe_or_from_a_look_that_was_partial() {
        for (first, second) in [
            (seen(pipe(7, &[20]), false), seen(pipe(8, &[]), true)),
            (seen(pipe(7, &[20]), true), seen(pipe(7, &[]), true)),
        ] {
            let completed = complete(&first, &second);
            assert_eq!(completed.endpoints, second.endpoints);
            assert!(completed.is_partial);
        }
        // Who closed it meanwhile is not called back.
        let completed = complete(&seen(pipe(7, &[20]), false), &seen(pipe(7, &[]), false));
        assert_eq!(completed.endpoints, [pipe(7, &[])]);
    }
}
