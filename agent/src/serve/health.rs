//! `/livez` and `/readyz`.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use super::{error::Error, router::App};
use crate::model::{
    health::{Level, Loop},
    plan::{self, PlanEntry},
};

/// `holdup.livez/v1`
#[derive(Debug, Serialize)]
struct Livez {
    schema: &'static str,
    alive: bool,
    /// Names of the loops that are late.
    late: Vec<String>,
    loops: Vec<Loop>,
}

/// 200 while every loop has beaten within its patience, else 503 with the names of those that have not.
pub async fn livez(State(app): State<Arc<App>>) -> Result<Response, Error> {
    let health = app.health().await?;
    let late: Vec<String> = health
        .loops
        .iter()
        .filter(|one| !one.is_alive())
        .map(|one| one.name.clone())
        .collect();
    let body = Livez {
        schema: "holdup.livez/v1",
        alive: late.is_empty(),
        late,
        loops: health.loops,
    };
    Ok((status(body.alive), Json(body)).into_response())
}

/// `holdup.readyz/v1`
#[derive(Debug, Serialize)]
struct Readyz {
    schema: &'static str,
    ready: bool,
    /// At least one probe is attached; not so in census mode, which is ready nevertheless.
    attached: bool,
    /// What the governor lets the agent do.
    level: Level,
    /// Why it is not `full`.
    why: Option<String>,
    /// Each probe's fate.
    plan: Vec<PlanEntry>,
}

/// 200 once the node was looked at for the first time, or when a kill switch forbids to look; else 503. The body says how
/// much is done.
pub async fn readyz(State(app): State<Arc<App>>) -> Result<Response, Error> {
    let view = app.state.sources.view.borrow().clone();
    let cost = app.health().await?.cost;
    let plan = view.as_ref().map_or(&[][..], |view| &view.plan);
    let body = Readyz {
        schema: "holdup.readyz/v1",
        ready: view.is_some() || cost.level == Level::Off,
        attached: plan
            .iter()
            .any(|entry| entry.status == plan::Status::Attached),
        level: cost.level,
        why: cost.why,
        plan: plan.to_vec(),
    };
    Ok((status(body.ready), Json(body)).into_response())
}

const fn status(good: bool) -> StatusCode {
    if good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}
