//! `/api/v1/events`: incidents as server-sent events.
//!
//! Each reader has a queue of its own, filled by a task that never waits. A reader whose queue is full is cut off: what it
//! did not get is counted, and it can ask `/api/v1/incidents` for how things stand when it comes back.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Extension,
    extract::State,
    http::StatusCode,
    response::{
        IntoResponse as _, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc, watch,
};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    conn::{Conn, Endless},
    error::Error,
    router::App,
    stats::{Cut, Place, Refused, Stats},
};
use crate::model::incident::{Change, Event};

type Queue = mpsc::Sender<Result<sse::Event, Infallible>>;

/// Streams events until the reader goes away, reads too slowly, or the agent ends.
pub async fn stream(
    State(app): State<Arc<App>>,
    Extension(conn): Extension<Conn>,
) -> Result<Response, Error> {
    let limits = app.access().limits.clone();
    let stats = Arc::clone(&app.state.stats);
    let Some(place) = Place::take(&stats, |stats| &stats.streams, limits.streams) else {
        stats.refused(Refused::Streams);
        let text = format!("{} event streams are open already", limits.streams);
        return Err(Error::new(StatusCode::SERVICE_UNAVAILABLE, text));
    };
    let (queue, waiting) = mpsc::channel(limits.event_queue);
    let forward = Forward {
        events: app.state.sources.events.subscribe(),
        queue,
        conn,
        stats,
        _place: place,
    };
    tokio::spawn(forward.run(app.stopping.clone()));
    let alive = KeepAlive::new().interval(limits.stream_timeout / 2);
    let stream = Sse::new(ReceiverStream::new(waiting)).keep_alive(alive);
    Ok((Extension(Endless), stream).into_response())
}

/// From the channel of all to the queue of one.
struct Forward {
    events: broadcast::Receiver<Arc<Event>>,
    queue: Queue,
    conn: Conn,
    stats: Arc<Stats>,
    _place: Place,
}

impl Forward {
    async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = stopping.changed() => return,
                () = self.queue.closed() => return,
                event = self.events.recv() => match event {
                    Ok(event) => if !self.pass_on(&event) { return },
                    // This task was not scheduled for long enough.
                    Err(RecvError::Lagged(count)) => return self.cut(count),
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    /// False when the reader was cut off.
    fn pass_on(&self, event: &Event) -> bool {
        let change = match event.change {
            Change::Opened { .. } => "opened",
            Change::Refreshed => "refreshed",
            Change::Explained => "explained",
            Change::Doubled => "doubled",
            Change::Resolved => "resolved",
        };
        let Ok(message) = sse::Event::default().event(change).json_data(event) else {
            self.stats.dropped(1);
            return true;
        };
        let sent = self.queue.try_send(Ok(message));
        if sent.is_err() {
            self.cut(1);
        }
        sent.is_ok()
    }

    /// Cuts the reader off. `lost` events had no place; those in the queue do not reach it either.
    fn cut(&self, lost: u64) {
        let queued = self.queue.max_capacity() - self.queue.capacity();
        self.stats.dropped(lost + queued as u64);
        self.conn.cut(Cut::Behind);
    }
}
