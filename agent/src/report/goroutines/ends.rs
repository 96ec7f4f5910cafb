//! What descriptors are that goroutines wait on, and who is at the other ends.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{
    explain::doing::{self, Endpoint, Fd, Object, Side},
    runtime::go::{Census, census::Target},
};

/// Most descriptors that are looked at, those of the oldest goroutines first.
const MAX_DESCRIPTORS: usize = 1024;
/// Time for it.
const TIME: Duration = Duration::from_secs(2);

/// By goroutine: what it waits on, also in words.
#[derive(Debug, Default)]
pub struct Ends(HashMap<usize, (Endpoint, String)>);

impl Ends {
    /// Looks at the descriptors of all goroutines in `IO wait`.
    ///
    /// # Cost
    /// See [`doing::observe()`]; nothing when there are none.
    #[must_use]
    pub fn of_all(census: &Census) -> Self {
        let mut waiting: Vec<(u64, usize, Fd)> = census
            .goroutines
            .iter()
            .enumerate()
            .filter_map(|(index, goroutine)| match goroutine.target {
                Target::Descriptor(fd, writes) => {
                    let side = if writes { Side::Out } else { Side::In };
                    Some((goroutine.record.goid, index, Fd { fd, side }))
                }
                _ => None,
            })
            .collect();
        if waiting.is_empty() {
            return Self::default();
        }
        waiting.sort_unstable_by_key(|(goid, ..)| *goid);
        waiting.truncate(MAX_DESCRIPTORS);
        let fds: Vec<Fd> = waiting.iter().map(|(.., fd)| *fd).collect();
        let ends = doing::descriptors(census.program.pid, &fds, Instant::now() + TIME);
        Self(
            waiting
                .iter()
                .map(|(_, index, _)| *index)
                .zip(ends)
                .collect(),
        )
    }

    /// What a goroutine waits on.
    #[must_use]
    pub fn of(&self, index: usize) -> Option<&(Endpoint, String)> {
        self.0.get(&index)
    }

    /// Of several goroutines: what the one waits on that has waited longest for anything to come or go.
    #[must_use]
    pub fn idlest(&self, indices: &[usize]) -> Option<&(Endpoint, String)> {
        let known = indices.iter().filter_map(|index| self.of(*index));
        known.max_by_key(|(endpoint, _)| idle_ms(endpoint))
    }
}

/// For how long nothing has come, or gone, in milliseconds; none for what is no TCP connection.
fn idle_ms(endpoint: &Endpoint) -> Option<u64> {
    let Object::Socket {
        socket: Some(socket),
        ..
    } = &endpoint.object
    else {
        return None;
    };
    let tcp = socket.tcp?;
    Some(match endpoint.side {
        Side::Out => tcp.last_data_sent_ms,
        _ => tcp.last_data_recv_ms,
    })
}
