//! What the HTTP side reads. It owns none of it, and never makes those wait who write it.

use std::{fmt, fs::File, io, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, watch};

use super::{metrics::Metrics, settings::Settings, stats::Stats};
use crate::model::{
    health::Health,
    incident::{Event, Incident},
    verdict::{Selector, Verdict},
    watch::View,
};

/// A file in the snapshot store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// File name: what [`Snapshots::open`] takes.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// When it was written, RFC 3339 in UTC.
    pub written_at: String,
}

/// The snapshot store, as far as it is served. Calls may block: they are made on threads for that.
pub trait Snapshots: Send + Sync {
    /// What is there, newest first.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn list(&self) -> io::Result<Vec<Stored>>;

    /// Opens one for reading. `name` has been checked to be a plain file name: letters, digits, `.`, `_` and `-`, no dot
    /// in front.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is none of this name.
    fn open(&self, name: &str) -> io::Result<File>;
}

/// Where the answers come from.
#[derive(Clone)]
pub struct Sources {
    /// The last tick; `None` before the first one.
    pub view: watch::Receiver<Option<Arc<View>>>,
    /// Open incidents, and those that were resolved lately.
    pub incidents: watch::Receiver<Arc<[Incident]>>,
    /// What happens to incidents. Each reader subscribes; the sender is never held up.
    pub events: broadcast::Sender<Arc<Event>>,
    /// How the agent is.
    pub health: Arc<dyn Fn() -> Health + Send + Sync>,
    /// Snapshot bundles.
    pub snapshots: Arc<dyn Snapshots>,
    /// Judges a target. May block.
    pub verdict: Arc<dyn Fn(&Selector) -> Verdict + Send + Sync>,
    /// Called at least once a second while [`super::serve()`] is alive: the loop's heartbeat.
    pub beat: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// The sources and what the HTTP side keeps itself: its counters. Cheap to clone. Make it once: when [`super::serve()`] is
/// started again with the same state, no counter goes backwards.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) sources: Sources,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stats: Arc<Stats>,
}

impl State {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(sources: Sources, settings: &Settings) -> Self {
        Self {
            sources,
            metrics: Arc::new(Metrics::new(settings.metrics.clone())),
            stats: Arc::default(),
        }
    }
}
