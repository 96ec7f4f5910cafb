//! Serves HTTP, and knows that it does: the heartbeat is that of the server, not of the thread that watches it.

use std::{
    fs::File,
    io::{self, ErrorKind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{net::TcpListener, runtime::Handle, sync::watch as latest, task::JoinHandle, time};

use crate::{
    daemon::supervise::{Body, Lease, Stop},
    proc::time::rfc3339,
    serve::{self, Settings, State},
    sink::store::{self, Store},
};

/// Time between two looks at the server.
const TICK: Duration = Duration::from_millis(500);
/// Time between two looks when it has not moved.
const STEP: Duration = Duration::from_millis(20);
/// How much longer than its open responses the server may take to end.
const END: Duration = Duration::from_secs(1);

/// What a server is made from. It outlives those that fail.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it is mostly functions")]
pub struct Parts {
    /// Where the server runs.
    pub runtime: Handle,
    /// Listens already.
    pub listener: Arc<TcpListener>,
    /// What it serves.
    pub state: State,
    /// Settings now and later.
    pub settings: latest::Receiver<Settings>,
    /// Counted by the server.
    pub beats: Arc<AtomicU64>,
    /// Ends it.
    pub stop: Stop,
}

/// The loop.
#[derive(Debug)]
pub struct Server {
    runtime: Handle,
    task: Option<JoinHandle<Result<(), serve::Error>>>,
    beats: Arc<AtomicU64>,
    seen: u64,
    drain: Duration,
}

impl Server {
    /// Starts serving.
    #[must_use]
    pub fn new(parts: &Parts) -> Self {
        let Parts {
            runtime,
            listener,
            state,
            settings,
            beats,
            stop,
        } = parts.clone();
        let drain = settings.borrow().limits.drain_timeout;
        let task = runtime
            .spawn(async move { serve::serve(&listener, state, settings, stop.requested()).await });
        Self {
            runtime,
            task: Some(task),
            seen: beats.load(Ordering::Relaxed),
            beats,
            drain,
        }
    }

    /// How the server ended; waits for it.
    fn ended(&mut self, patience: Duration) -> anyhow::Result<()> {
        let Some(mut task) = self.task.take() else {
            return Ok(());
        };
        let ended = async { time::timeout(patience, &mut task).await };
        match self.runtime.block_on(ended) {
            Ok(ended) => Ok(ended??),
            Err(_) => {
                task.abort();
                anyhow::bail!("the server does not end")
            }
        }
    }
}

impl Body for Server {
    fn wait(&mut self, stop: &Stop) {
        stop.wait(TICK);
    }

    fn turn(&mut self, lease: &Lease) -> anyhow::Result<()> {
        loop {
            if self.task.as_ref().is_none_or(JoinHandle::is_finished) {
                self.ended(Duration::ZERO)?;
                anyhow::bail!("the server has ended");
            }
            let beats = self.beats.load(Ordering::Relaxed);
            if beats != self.seen || !lease.is_valid() {
                self.seen = beats;
                return Ok(());
            }
            thread::sleep(STEP);
        }
    }

    fn end(&mut self) {
        if let Err(error) = self.ended(self.drain + END) {
            tracing::warn!(%error, "the HTTP server did not end in good order");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// The store, as it is served.
#[derive(Debug)]
pub struct Bundles(pub Arc<Store>);

impl serve::Snapshots for Bundles {
    fn list(&self) -> io::Result<Vec<serve::Stored>> {
        let entries = self.0.list().map_err(io::Error::other)?;
        let stored = entries.into_iter().rev().map(|entry| serve::Stored {
            name: entry.name,
            bytes: entry.bytes,
            written_at: rfc3339(entry.written_at),
        });
        Ok(stored.collect())
    }

    fn open(&self, name: &str) -> io::Result<File> {
        self.0.file(name).map_err(|error| match error {
            store::Error::Io { source, .. } => source,
            store::Error::Name => ErrorKind::NotFound.into(),
            error => io::Error::other(error),
        })
    }
}
