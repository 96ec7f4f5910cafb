//! What the loops share: each writes its own part, and nobody waits for anybody who reads.

use std::{
    sync::{Arc, Mutex},
    time::SystemTime,
};

use tokio::sync::{broadcast, watch as latest};

use super::{
    governor::Board,
    ledger::Ledger,
    mailbox::Mailbox,
    supervise::{Supervisor, lock},
};
use crate::{
    model::{
        explanation::Explanation,
        health::{Health, HeldBack, Level, Queue, Reloads},
        incident::{Change, Event, HeldBackBy, Incident},
        watch::View,
    },
    proc::time,
    watch::Waker,
};

/// Events that a reader may be behind before it misses some.
const EVENTS: usize = 1024;

/// Bundles that are due. One takes up to its deadline, so that the last of these would be rather late.
const EVIDENCE: usize = 64;
/// Events that nobody has been told about yet.
const ALERTS: usize = 4096;
/// Explanations that the detectors have not taken in yet.
const EXPLAINED: usize = 256;

/// What a bundle has told about an incident.
#[derive(Clone, Debug)]
pub struct Explained {
    /// Of the incident.
    pub key: String,
    /// Process id.
    pub pid: u32,
    /// Address of its lock.
    pub address: Option<u64>,
    /// What holds it up.
    pub explanation: Option<Explanation>,
    /// File name of the bundle, when it could be kept.
    pub snapshot: Option<String>,
}

/// See the module.
#[expect(
    missing_debug_implementations,
    reason = "channels have nothing to show"
)]
pub struct Hub {
    started_at: SystemTime,
    /// The last tick; `None` before the first one and while nothing is looked at.
    pub view: latest::Sender<Option<Arc<View>>>,
    /// Open incidents, and those that were resolved lately.
    pub incidents: latest::Sender<Arc<[Incident]>>,
    /// What happens to incidents, for whoever wants to know.
    pub events: broadcast::Sender<Arc<Event>>,
    /// The same, for those who take evidence.
    pub evidence: Mailbox<Arc<Event>>,
    /// The same, for those who tell people.
    pub alerts: Mailbox<Arc<Event>>,
    /// What those who take evidence have found out.
    pub explained: Mailbox<Explained>,
    /// Incidents, over restarts of whatever.
    pub ledger: Ledger,
    /// Between the governor and those that it governs.
    pub board: Board,
    /// The loops.
    pub supervisor: Supervisor,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waker: Option<Waker>,
    queues: Vec<Queue>,
    held_back: HeldBack,
    reloads: Reloads,
}

impl Hub {
    /// For an agent that never does more than `most`, and ended with these incidents open.
    #[must_use]
    pub fn new(most: Level, open: Vec<Incident>) -> Self {
        let ledger = Ledger::new(open);
        Self {
            started_at: SystemTime::now(),
            view: latest::Sender::new(None),
            incidents: latest::Sender::new(ledger.all()),
            events: broadcast::Sender::new(EVENTS),
            evidence: Mailbox::new("evidence", EVIDENCE),
            alerts: Mailbox::new("alerts", ALERTS),
            explained: Mailbox::new("explained", EXPLAINED),
            ledger,
            board: Board::new(most),
            supervisor: Supervisor::default(),
            state: Mutex::default(),
        }
    }

    /// Whom to wake when the watch is to look up before its time.
    pub fn set_waker(&self, waker: Waker) {
        lock(&self.state).waker = Some(waker);
    }

    /// Ends the watch's sleep.
    pub fn wake_watch(&self) {
        if let Some(waker) = &lock(&self.state).waker {
            waker.wake();
        }
    }

    /// Tells what has happened to incidents.
    pub fn publish(&self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        for event in events {
            self.ledger.take(&event.incident);
            let event = Arc::new(event);
            let is_due = match event.change {
                Change::Opened { again: false } | Change::Doubled => true,
                // The run before may have been killed before it had any.
                Change::Opened { again: true } => event.incident.snapshots.is_empty(),
                Change::Refreshed | Change::Explained | Change::Resolved => false,
            };
            // Whatever else is true of the same lock has the same evidence.
            if is_due && event.incident.held_back != Some(HeldBackBy::SameLock) {
                self.evidence.put(Arc::clone(&event));
            }
            if event.incident.held_back.is_none() {
                self.alerts.put(Arc::clone(&event));
            }
            // Nobody may be there to hear it.
            let _ = self.events.send(event);
        }
        self.incidents.send_replace(self.ledger.all());
    }

    /// Tells how full the queues of those who tell people are.
    pub fn set_queues(&self, queues: impl Iterator<Item = Queue>) {
        lock(&self.state).queues = queues.collect();
    }

    /// Tells what was held back since the agent started.
    pub fn set_held_back(&self, held_back: HeldBack) {
        lock(&self.state).held_back = held_back;
    }

    /// Counts a configuration that was read again.
    pub fn count_reload(&self, is_taken_over: bool) {
        let Reloads { ok, refused } = &mut lock(&self.state).reloads;
        *(if is_taken_over { ok } else { refused }) += 1;
    }

    /// How the agent is.
    #[must_use]
    pub fn health(&self) -> Health {
        let state = lock(&self.state);
        let own = [
            self.evidence.health(),
            self.explained.health(),
            self.alerts.health(),
        ];
        Health {
            started_at: time::rfc3339(self.started_at),
            loops: self.supervisor.health(),
            programs: self.board.programs(),
            queues: own
                .into_iter()
                .chain(state.queues.iter().cloned())
                .collect(),
            cost: self.board.cost(),
            held_back: state.held_back,
            reloads: state.reloads,
        }
    }
}
