//! `/metrics`, and the counting that goes on between scrapes.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use hyper::body::Bytes;
use tokio::{sync::broadcast::error::RecvError, task::spawn_blocking};

use super::{error::Error, router::App, state::Sources};
use crate::sink::prometheus::{Format, Settings, Totals};

/// For how long what one scrape was told is told to others, unless there was a tick since.
const FRESH: Duration = Duration::from_millis(250);

/// What was told to one scrape.
struct Told {
    at: Instant,
    ticks: u64,
    format: Format,
    text: Bytes,
}

/// The counters behind `/metrics`.
pub struct Metrics {
    totals: Mutex<Totals>,
    /// Locked while a text is made, so that scrapes at the same time share one.
    told: tokio::sync::Mutex<Option<Told>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            totals: Mutex::new(Totals::new(settings)),
            told: tokio::sync::Mutex::new(None),
        }
    }

    fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts each tick and each event, until their senders are gone.
    pub async fn follow(self: Arc<Self>, sources: Sources) {
        let mut views = sources.view;
        let mut events = sources.events.subscribe();
        drop(sources.events);
        views.mark_changed();
        loop {
            tokio::select! {
                changed = views.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // Not held while counting: the watch would wait for it.
                    let Some(view) = views.borrow_and_update().clone() else {
                        continue;
                    };
                    let this = Arc::clone(&self);
                    let counted = spawn_blocking(move || this.totals().observe(&view)).await;
                    if let Err(error) = counted {
                        tracing::error!(%error, "a tick was not counted for /metrics");
                        self.totals().lose("metrics_ticks", 1);
                    }
                }
                event = events.recv() => match event {
                    Ok(event) => self.totals().event(&event),
                    Err(RecvError::Lagged(count)) => self.totals().lose("metrics_events", count),
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    /// The text that a scrape gets.
    async fn text(&self, app: &Arc<App>, format: Format) -> Result<Bytes, Error> {
        let mut told = self.told.lock().await;
        let ticks = self.totals().ticks();
        if let Some(told) = &*told
            && (told.ticks, told.format) == (ticks, format)
            && told.at.elapsed() < FRESH
        {
            return Ok(told.text.clone());
        }
        let asked = Arc::clone(app);
        let text = app.work(move || encode(&asked, format)).await?;
        let text = text.map_err(|error| {
            tracing::error!(%error, "the metrics could not be written");
            Error::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the metrics could not be written",
            )
        })?;
        let text = Bytes::from(text);
        *told = Some(Told {
            at: Instant::now(),
            ticks,
            format,
            text: text.clone(),
        });
        Ok(text)
    }
}

fn encode(app: &App, format: Format) -> Result<String, fmt::Error> {
    let sources = &app.state.sources;
    let health = (sources.health)();
    let incidents = sources.incidents.borrow().clone();
    let http = app.state.stats.read();
    // Only what is to be written is taken while counting stands still; it is written afterwards.
    let exposition = app.state.metrics.totals().scrape(&health, &incidents, http);
    exposition.encode(format)
}

/// All metrics, as OpenMetrics 1.0 if the client asks for it, else in the text format that all understand.
pub async fn scrape(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Error> {
    let accept = headers.get(header::ACCEPT).map(|value| value.as_bytes());
    let format = Format::accepted(accept.unwrap_or_default());
    let metrics = Arc::clone(&app.state.metrics);
    let text = metrics.text(&app, format).await?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], text).into_response())
}
