//! Judges each view, and tells what that changes.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::watch as latest, time};

use crate::{
    daemon::{
        hub::{Explained, Hub},
        supervise::{Body, Lease, Stop},
    },
    detect::{Detectors, settings::Settings},
    model::{
        incident::{Event, Incident},
        watch::View,
    },
};

/// Longest time without a heartbeat when there is nothing to judge.
const IDLE: Duration = Duration::from_secs(1);

/// The loop.
#[expect(missing_debug_implementations, reason = "it holds the hub")]
pub struct Judge {
    hub: Arc<Hub>,
    runtime: Handle,
    detectors: Detectors,
    views: latest::Receiver<Option<Arc<View>>>,
    /// When the last view was that was judged.
    judged_ns: u64,
}

impl Judge {
    /// Goes on with the incidents that were open when the last one ended, in this run of the agent or in the one before.
    #[must_use]
    pub fn new(hub: &Arc<Hub>, settings: &Settings, runtime: &Handle) -> Self {
        Self {
            detectors: Detectors::new(settings, hub.ledger.open()),
            views: hub.view.subscribe(),
            judged_ns: 0,
            runtime: runtime.clone(),
            hub: Arc::clone(hub),
        }
    }

    fn explain(&mut self, found: &Explained) -> Vec<Event> {
        let Explained {
            key,
            pid,
            address,
            explanation,
            snapshot,
        } = found;
        // What is true of the lock is true of all incidents about it.
        let is_meant = |incident: &&Incident| {
            let lock = incident.lock.as_ref();
            incident.key == *key
                || (incident.pid == *pid
                    && address.is_some()
                    && lock.map(|it| it.address) == *address)
        };
        let keys: Vec<String> = self
            .detectors
            .open()
            .filter(is_meant)
            .map(|incident| incident.key.clone())
            .collect();
        let tell = |key: String| {
            let (explanation, snapshot) = (explanation.clone(), snapshot.clone());
            self.detectors.explained(&key, explanation, snapshot)
        };
        keys.into_iter().filter_map(tell).collect()
    }
}

impl Body for Judge {
    fn wait(&mut self, stop: &Stop) {
        let Self { hub, views, .. } = self;
        self.runtime.block_on(async {
            tokio::select! {
                _ = views.changed() => {}
                () = hub.explained.filled() => {}
                () = stop.requested() => {}
                () = time::sleep(IDLE) => {}
            }
        });
    }

    fn turn(&mut self, lease: &Lease) -> anyhow::Result<()> {
        let mut events = Vec::new();
        let view = self.views.borrow_and_update().clone();
        if let Some(view) = view.filter(|view| view.at_ns != self.judged_ns) {
            self.judged_ns = view.at_ns;
            events = self.detectors.turn(&view);
        }
        while let Some(found) = self.hub.explained.take() {
            events.extend(self.explain(&found));
        }
        if lease.is_valid() {
            self.hub.set_held_back(self.detectors.held_back());
            self.hub.publish(events);
        }
        Ok(())
    }
}
