//! What the loops share: each writes its own part, and nobody waits for anybody who reads.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use tokio::sync::{broadcast, watch as latest};

use super::{
    governor::Board,
    supervise::{Supervisor, lock},
};
use crate::{
    model::{
        health::{Health, HeldBack, Level, Queue},
        incident::{Event, Incident},
        watch::View,
    },
    proc::time,
    watch::Waker,
};

/// Events that a reader may be behind before it misses some.
const EVENTS: usize = 1024;

/// See the module.
#[expect(missing_debug_implementations, reason = "channels have nothing to show")]
pub struct Hub {
    started_at: SystemTime,
    /// The last tick; `None` before the first one and while nothing is looked at.
    pub view: latest::Sender<Option<Arc<View>>>,
    /// Open incidents, and those that were resolved lately.
    pub incidents: latest::Sender<Arc<[Incident]>>,
    /// What happens to incidents.
    pub events: broadcast::Sender<Arc<Event>>,
    /// Between the governor and those that it governs.
    pub board: Board,
    /// The loops.
    pub supervisor: Supervisor,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waker: Option<Waker>,
    queues: BTreeMap<&'static str, Queue>,
    held_back: HeldBack,
}

impl Hub {
    /// For an agent that never does more than `most`.
    #[must_use]
    pub fn new(most: Level) -> Self {
        Self {
            started_at: SystemTime::now(),
            view: latest::Sender::new(None),
            incidents: latest::Sender::new(Arc::from([])),
            events: broadcast::Sender::new(EVENTS),
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

    /// Tells how full a queue is, and what was dropped since it was there.
    pub fn set_queue(&self, name: &'static str, queue: Queue) {
        lock(&self.state).queues.insert(name, queue);
    }

    /// Tells what was held back since the agent started.
    pub fn set_held_back(&self, held_back: HeldBack) {
        lock(&self.state).held_back = held_back;
    }

    /// How the agent is.
    #[must_use]
    pub fn health(&self) -> Health {
        let state = lock(&self.state);
        Health {
            started_at: time::rfc3339(self.started_at),
            loops: self.supervisor.health(),
            programs: self.board.programs(),
            queues: state.queues.values().cloned().collect(),
            cost: self.board.cost(),
            held_back: state.held_back,
        }
    }
}
