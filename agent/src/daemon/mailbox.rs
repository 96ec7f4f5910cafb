//! A bounded queue between two loops. Who puts something in never waits: what does not fit is dropped and counted. It
//! outlives the loops at both ends.

use std::{collections::VecDeque, sync::Mutex};

use tokio::sync::Notify;

use super::supervise::lock;
use crate::model::health::Queue;

/// See the module.
#[derive(Debug)]
pub struct Mailbox<T> {
    name: &'static str,
    capacity: usize,
    state: Mutex<State<T>>,
    filled: Notify,
}

#[derive(Debug)]
struct State<T> {
    entries: VecDeque<T>,
    dropped: u64,
}

impl<T> Mailbox<T> {
    /// An empty one for `capacity` entries.
    #[must_use]
    pub fn new(name: &'static str, capacity: usize) -> Self {
        Self {
            name,
            capacity,
            state: Mutex::new(State {
                entries: VecDeque::new(),
                dropped: 0,
            }),
            filled: Notify::new(),
        }
    }

    /// Puts something in, if there is room.
    pub fn put(&self, entry: T) {
        let mut state = lock(&self.state);
        if state.entries.len() < self.capacity {
            state.entries.push_back(entry);
        } else {
            state.dropped += 1;
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Takes out what has been there for longest.
    pub fn take(&self) -> Option<T> {
        lock(&self.state).entries.pop_front()
    }

    /// Ready when there is something, for the one who takes it out.
    pub async fn filled(&self) {
        while lock(&self.state).entries.is_empty() {
            self.filled.notified().await;
        }
    }

    /// How full it is.
    #[must_use]
    pub fn health(&self) -> Queue {
        let state = lock(&self.state);
        Queue {
            name: self.name.to_owned(),
            depth: state.entries.len() as u64,
            capacity: self.capacity as u64,
            dropped: state.dropped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let mailbox = Mailbox::new("test", 2);
        for number in 0..5 {
            mailbox.put(number);
        }
        let health = mailbox.health();
        assert_eq!((health.depth, health.capacity, health.dropped), (2, 2, 3));
        assert_eq!(
            [mailbox.take(), mailbox.take(), mailbox.take()],
            [Some(0), Some(1), None]
        );
        mailbox.put(5);
        assert_eq!((mailbox.take(), mailbox.health().dropped), (Some(5), 3));
    }

    #[test]
    fn who_waits_is_woken() {
        let mailbox = std::sync::Arc::new(Mailbox::new("test", 1));
        let ours = std::sync::Arc::clone(&mailbox);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(ours.filled());
            ours.take()
        });
        mailbox.put(7);
        assert_eq!(thread.join().unwrap(), Some(7));
    }
}
