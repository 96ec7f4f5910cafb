//! Routes, and what holds for all of them.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::{
    Router,
    body::HttpBody as _,
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use tokio::sync::{Semaphore, watch};

use super::{
    access::Access,
    api::{incidents, locks, processes, snapshots, verdict},
    error::Error,
    events, health, metrics, state,
    stats::Refused,
};
use crate::model::health::Health;

/// What every handler gets.
pub struct App {
    pub(super) state: state::State,
    pub(super) access: Arc<RwLock<Arc<Access>>>,
    pub(super) stopping: watch::Receiver<bool>,
    workers: Arc<Semaphore>,
    probes: Arc<Semaphore>,
}

impl App {
    /// Nothing at work yet.
    pub(super) fn new(
        state: state::State,
        access: Arc<RwLock<Arc<Access>>>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self {
            state,
            access,
            stopping,
            workers: Arc::new(Semaphore::new(WORKERS)),
            probes: Arc::new(Semaphore::new(PROBES)),
        }
    }

    /// As the files say now.
    pub(super) fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs `work` on a thread that may block. A request that was given up goes on to occupy its thread, hence the limit.
    ///
    /// # Errors
    /// Too many are at work, or it panicked.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.on_thread(&self.workers, work).await
    }

    /// How the agent is. Has threads of its own: that requests are stuck does not make the agent dead.
    ///
    /// # Errors
    /// Too many ask, or it panicked.
    pub(super) async fn health(&self) -> Result<Health, Error> {
        let health = Arc::clone(&self.state.sources.health);
        self.on_thread(&self.probes, move || health()).await
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        limit: &Arc<Semaphore>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let Ok(permit) = Arc::clone(limit).try_acquire_owned() else {
            self.state.stats.refused(Refused::Busy);
            return Err(Error::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many requests are being worked on",
            ));
        };
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        work.await.map_err(|error| {
            tracing::error!(%error, "a request could not be answered");
            Error::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the answer could not be made",
            )
        })
    }
}

/// Requests that may be worked on at once.
const WORKERS: usize = 32;
/// Questions for the agent's health that may be answered at once.
const PROBES: usize = 8;

/// What a probe must reach without a token.
const OPEN: [&str; 2] = ["/livez", "/readyz"];

const INDEX: &str = "holdup: what is the hold-up, and who is holding it up?

/metrics                   for Prometheus
/livez                     200 while every loop of the agent beats
/readyz                    200 once the node is watched; what is attached, what was given up
/api/v1/processes          ?pid= ?comm= ?limit= ?offset=
/api/v1/locks              ?pid= ?comm= ?id= ?limit= ?offset=
/api/v1/incidents          ?pid= ?comm= ?status=open|resolved ?limit= ?offset=
/api/v1/snapshots          ?limit= ?offset=
/api/v1/snapshots/{name}   one of them
/api/v1/verdict            ?pid= or ?cgroup= or ?pod=: 200 healthy or unknown, 503 wedged
/api/v1/events             server-sent events: incidents as they open, go on and end
";

/// All routes.
pub fn build(app: App) -> Router {
    let app = Arc::new(app);
    Router::new()
        .route("/", get(async || INDEX))
        .route("/metrics", get(metrics::scrape))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/api/v1/processes", get(processes::list))
        .route("/api/v1/locks", get(locks::list))
        .route("/api/v1/incidents", get(incidents::list))
        .route("/api/v1/snapshots", get(snapshots::list))
        .route("/api/v1/snapshots/{name}", get(snapshots::open))
        .route("/api/v1/verdict", get(verdict::judge))
        .route("/api/v1/events", get(events::stream))
        .method_not_allowed_fallback(async || {
            Error::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are served",
            )
        })
        .fallback(async || Error::new(StatusCode::NOT_FOUND, "there is no such page, see /"))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), admit))
        .with_state(app)
}

/// Turns away who may not ask, or sends too much; counts everybody.
async fn admit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("none", MatchedPath::as_str);
    let access = app.access();
    let mut response = if is_long(&request, access.limits.body_bytes) {
        app.state.stats.refused(Refused::Body);
        Error::new(StatusCode::PAYLOAD_TOO_LARGE, "no call takes a body").into_response()
    } else if !OPEN.contains(&route) && !access.admits(authorization(&request)) {
        app.state.stats.refused(Refused::Token);
        Error::new(StatusCode::UNAUTHORIZED, "a bearer token is needed").into_response()
    } else {
        let limit = access.limits.response_timeout;
        answer(request, next, limit).await
    };
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    app.state.stats.answered(route, response.status().as_u16());
    response
}

/// Gives up on an answer that takes too long to make. Half of the time is left to send it.
async fn answer(request: Request, next: Next, limit: Duration) -> Response {
    match tokio::time::timeout(limit / 2, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Error::new(StatusCode::GATEWAY_TIMEOUT, "the answer took too long").into_response()
        }
    }
}

/// Whether the body is longer than `limit`, or does not say how long it is.
fn is_long(request: &Request, limit: u64) -> bool {
    request
        .body()
        .size_hint()
        .upper()
        .is_none_or(|bytes| bytes > limit)
}

fn authorization(request: &Request) -> Option<&[u8]> {
    let value = request.headers().get(header::AUTHORIZATION)?;
    Some(value.as_bytes())
}
