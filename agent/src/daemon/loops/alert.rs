//! Hands what happens to those who tell people, each of whom has a thread and a queue of its own.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, time};

use crate::{
    daemon::{
        hub::Hub,
        supervise::{Body, Lease, Stop},
    },
    sink::alert::{Alerts, Error, Settings},
};

/// Longest time without a heartbeat.
const IDLE: Duration = Duration::from_secs(1);

/// The loop.
#[expect(missing_debug_implementations, reason = "it holds the hub")]
pub struct Herald {
    hub: Arc<Hub>,
    runtime: Handle,
    alerts: Option<Alerts>,
    grace: Duration,
}

impl Herald {
    /// For the events that the hub keeps for it. What is queued when it ends has `grace` to be delivered.
    ///
    /// # Errors
    /// A file with a secret or a certificate cannot be used.
    pub fn new(
        hub: &Arc<Hub>,
        settings: &Settings,
        runtime: &Handle,
        grace: Duration,
    ) -> Result<Self, Error> {
        Ok(Self {
            hub: Arc::clone(hub),
            runtime: runtime.clone(),
            alerts: Some(Alerts::start(settings)?),
            grace,
        })
    }

    fn push(&self, alerts: &Alerts) {
        while let Some(event) = self.hub.alerts.take() {
            alerts.push(&event);
        }
    }
}

impl Body for Herald {
    fn wait(&mut self, stop: &Stop) {
        self.runtime.block_on(async {
            tokio::select! {
                () = self.hub.alerts.filled() => {}
                () = stop.requested() => {}
                () = time::sleep(IDLE) => {}
            }
        });
    }

    fn turn(&mut self, _: &Lease) -> anyhow::Result<()> {
        if let Some(alerts) = &self.alerts {
            self.push(alerts);
            self.hub
                .set_queues(alerts.states().into_iter().map(|state| state.queue));
        }
        Ok(())
    }

    fn end(&mut self) {
        if let Some(alerts) = self.alerts.take() {
            self.push(&alerts);
            let left = alerts.shut_down(self.grace);
            if left > 0 {
                tracing::warn!(left, "notices were not delivered in time");
            }
        }
    }
}
