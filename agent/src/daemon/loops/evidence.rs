//! Takes a bundle for each incident that opens or doubles, and tells what it explains.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch as latest, time};

use crate::{
    daemon::{
        governor,
        hub::{Explained, Hub},
        supervise::{Body, Lease, Stop, lock},
    },
    evidence::{Collector, Request, flight::Recorder, replay},
    model::{
        incident::{Event, Incident},
        watch::View,
    },
    sink::store::Store,
};

/// Longest time without a heartbeat.
const IDLE: Duration = Duration::from_secs(1);

/// What outlives the loop.
#[derive(Clone)]
#[expect(
    missing_debug_implementations,
    reason = "a flight recorder is not worth printing"
)]
pub struct Parts {
    /// The last minutes, filled by the loop below.
    pub recorder: Arc<Mutex<Recorder>>,
    /// Takes bundles.
    pub collector: Arc<Collector>,
    /// Keeps them.
    pub store: Arc<Store>,
    /// Where futures run.
    pub runtime: Handle,
}

/// The loop that takes bundles.
#[expect(missing_debug_implementations, reason = "it holds the hub")]
pub struct Witness {
    hub: Arc<Hub>,
    parts: Parts,
}

impl Witness {
    /// For the events that the hub keeps for it.
    #[must_use]
    pub fn new(hub: &Arc<Hub>, parts: &Parts) -> Self {
        Self {
            hub: Arc::clone(hub),
            parts: parts.clone(),
        }
    }

    fn take(&self, event: &Event, view: &Arc<View>) {
        let Parts {
            recorder,
            collector,
            store,
            ..
        } = &self.parts;
        let health = self.hub.health();
        let request = {
            let recorder = lock(recorder);
            Request::of(event, view, &recorder, health)
        };
        let Some(request) = request else { return };
        let mut bundle = collector.collect(request);
        let snapshot = bundle.snapshot.as_ref();
        let explanation =
            snapshot.and_then(|snapshot| replay::explanation(snapshot, &bundle.incident));
        bundle.incident.explanation.clone_from(&explanation);
        let incident = &bundle.incident;
        let stored = store.put(&bundle);
        if let Err(error) = &stored {
            tracing::error!(%error, reason = error.reason(), key = incident.key, "a snapshot is not kept");
        }
        self.hub.explained.put(Explained {
            key: incident.key.clone(),
            pid: incident.pid,
            address: incident.lock.as_ref().map(|lock| lock.address),
            explanation,
            snapshot: stored.ok(),
        });
        // Many threads or goroutines take much memory for a moment.
        drop(bundle);
        governor::own::give_back();
    }
}

impl Body for Witness {
    fn wait(&mut self, stop: &Stop) {
        self.parts.runtime.block_on(async {
            tokio::select! {
                () = self.hub.evidence.filled() => {}
                () = stop.requested() => {}
                () = time::sleep(IDLE) => {}
            }
        });
    }

    fn turn(&mut self, _: &Lease) -> anyhow::Result<()> {
        let view = self.hub.view.borrow().clone();
        // While nothing may be looked at, what is due is not taken either.
        if let (Some(event), Some(view)) = (self.hub.evidence.take(), view) {
            self.take(&event, &view);
        }
        Ok(())
    }
}

/// The loop that keeps the last minutes, and remembers which incidents are open in case that this is the last turn.
#[expect(missing_debug_implementations, reason = "it holds the hub")]
pub struct Chronicle {
    hub: Arc<Hub>,
    parts: Parts,
    views: latest::Receiver<Option<Arc<View>>>,
    incidents: latest::Receiver<Arc<[Incident]>>,
    /// Those that were remembered last.
    remembered: Arc<[Incident]>,
    /// The last try to remember them failed: said once.
    has_failed: bool,
}

impl Chronicle {
    /// For the views and incidents of the hub.
    #[must_use]
    pub fn new(hub: &Arc<Hub>, parts: &Parts) -> Self {
        Self {
            views: hub.view.subscribe(),
            incidents: hub.incidents.subscribe(),
            remembered: Arc::from([]),
            hub: Arc::clone(hub),
            parts: parts.clone(),
            has_failed: false,
        }
    }

    fn remember(&mut self) {
        let saved = self.parts.store.save_open(&self.hub.ledger.open());
        match &saved {
            Err(error) if !self.has_failed => {
                tracing::error!(%error, "open incidents are not remembered over a restart");
            }
            _ => {}
        }
        self.has_failed = saved.is_err();
    }
}

impl Body for Chronicle {
    fn wait(&mut self, stop: &Stop) {
        let Self {
            views, incidents, ..
        } = self;
        self.parts.runtime.block_on(async {
            tokio::select! {
                _ = views.changed() => {}
                _ = incidents.changed() => {}
                () = stop.requested() => {}
                () = time::sleep(IDLE) => {}
            }
        });
    }

    fn turn(&mut self, _: &Lease) -> anyhow::Result<()> {
        let view = self.views.borrow_and_update().clone();
        if let Some(view) = view {
            lock(&self.parts.recorder).record(&view);
        }
        let incidents = Arc::clone(&self.incidents.borrow_and_update());
        if !Arc::ptr_eq(&incidents, &self.remembered) {
            self.remembered = incidents;
            self.remember();
        }
        Ok(())
    }

    fn end(&mut self) {
        self.remember();
    }
}
