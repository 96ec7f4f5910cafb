//! Telling somebody: Alertmanager, a webhook, the log. Each has a queue and a thread of its own, so that none waits for
//! another, and nothing here ever makes the agent wait.
//!
//! A queue holds one notice for each incident, the newest: a receiver that hangs for an hour costs no memory and gets no
//! flood when it is back. What cannot be delivered within its deadline is dropped and counted.

mod alertmanager;
mod http;
mod log;
mod notice;
mod queue;
mod settings;
mod webhook;
mod worker;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

pub use self::{
    http::Error,
    settings::{Alertmanager, Settings, Webhook},
    webhook::signature,
};
use self::{queue::Queue, worker::Worker};
use crate::model::{health, incident::Event};

/// How one receiver is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Its queue. What was dropped was given up after its deadline, refused, or found the queue full.
    pub queue: health::Queue,
    /// Notices delivered.
    pub sent: u64,
    /// Tries that failed, most of which are made again.
    pub failed: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Alerts {
    queues: Vec<Arc<Queue>>,
}

impl Alerts {
    /// Starts a thread for each receiver.
    ///
    /// # Errors
    /// A file with a secret or a certificate cannot be used, or no thread can be started.
    pub fn start(settings: &Settings) -> Result<Self, Error> {
        let mut workers: Vec<Worker> = Vec::new();
        if settings.log {
            let queue = Queue::new("log", settings.queue, None);
            workers.push(Worker::new(settings, queue, Box::new(log::Log)));
        }
        for (index, own) in settings.alertmanager.iter().enumerate() {
            let outlet = alertmanager::Outlet::new(own)?;
            let queue = Queue::new(
                &named("alertmanager", index),
                settings.queue,
                Some(own.repeat),
            );
            workers.push(Worker::new(settings, queue, Box::new(outlet)));
        }
        for (index, own) in settings.webhook.iter().enumerate() {
            let outlet = webhook::Outlet::new(own)?;
            let queue = Queue::new(&named("webhook", index), settings.queue, None);
            workers.push(Worker::new(settings, queue, Box::new(outlet)));
        }
        let mut alerts = Self { queues: Vec::new() };
        for worker in workers {
            let queue = worker.queue();
            // Dropped with the error, the queues so far end the threads so far.
            thread::Builder::new()
                .name(format!("alert-{}", queue.name()))
                .spawn(move || worker.run())
                .map_err(Error::Thread)?;
            alerts.queues.push(queue);
        }
        Ok(alerts)
    }

    /// Tells all receivers what has happened to an incident. Never waits.
    pub fn push(&self, event: &Event) {
        for queue in &self.queues {
            queue.push(event);
        }
    }

    /// How each receiver is served.
    #[must_use]
    pub fn states(&self) -> Vec<State> {
        self.queues.iter().map(|queue| queue.state()).collect()
    }

    /// Ends: what is queued is delivered at once or never. Returns how many notices were not delivered within the grace
    /// time.
    pub fn shut_down(self, grace: Duration) -> u64 {
        let until = Instant::now() + grace;
        for queue in &self.queues {
            queue.close(until);
        }
        self.queues
            .iter()
            .map(|queue| queue.wait_closed(until))
            .sum()
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        for queue in &self.queues {
            queue.close(Instant::now());
        }
    }
}

/// `webhook`, `webhook-2`.
fn named(kind: &str, index: usize) -> String {
    match index {
        0 => kind.to_owned(),
        more => format!("{kind}-{}", more + 1),
    }
}

#[cfg(test)]
mod tests;
