//! Descriptors of a process on which no thread waits in a system call: a runtime polls them for its own tasks.

use std::time::Instant;

use super::{
    blocked::{Fd, Side},
    call::Action,
    far,
    look::Look,
    object::{Descriptors, Endpoint},
    observe::Observation,
    text,
};

/// Tells what descriptors of process `pid` are and who is at their other ends, each also in words:
/// `fd 9, TCP to 10.0.3.7:6379, ESTABLISHED, nothing received for 41 s`. In the order of `fds`.
///
/// # Cost
/// See [`super::observe()`].
#[must_use]
pub fn descriptors(pid: u32, fds: &[Fd], deadline: Instant) -> Vec<(Endpoint, String)> {
    let mut descriptors = Descriptors::new(pid, pid);
    let mut observations = [Observation {
        look: Look::unknown(pid, pid),
        blocked: None,
        endpoints: fds.iter().map(|&fd| descriptors.endpoint(fd)).collect(),
        is_partial: false,
    }];
    far::fill(&mut observations, deadline);
    let [observation] = observations;
    let words = |endpoint: &Endpoint| {
        let action = match endpoint.side {
            Side::Out => Action::Send,
            _ => Action::Receive,
        };
        text::endpoint(action, endpoint)
    };
    let endpoints = observation.endpoints.into_iter();
    endpoints
        .map(|endpoint| {
            let words = words(&endpoint);
            (endpoint, words)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::fd::AsRawFd as _,
        time::Duration,
    };

    use super::*;

    #[test]
    fn both_ends_of_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_other, _) = listener.accept().unwrap();
        let fd = Fd {
            fd: stream.as_raw_fd(),
            side: Side::In,
        };
        let deadline = Instant::now() + Duration::from_secs(5);
        let found = descriptors(std::process::id(), &[fd], deadline);
        let [(_, words)] = &found[..] else {
            panic!("one descriptor");
        };
        let peer = format!("TCP to {}", listener.local_addr().unwrap());
        assert!(
            words.contains(&peer) && words.contains("nothing received"),
            "{words}"
        );
    }
}
