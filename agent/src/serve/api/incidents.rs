//! `/api/v1/incidents`.

use std::{cmp::Reverse, sync::Arc};

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use serde::Deserialize;

use super::page::{Page, Window};
use crate::{
    model::incident::{Incident, Status},
    proc::time::rfc3339,
    serve::{error::Error, router::App},
};

/// Which incidents.
#[derive(Debug, Default, Deserialize)]
pub struct Filter {
    pid: Option<u32>,
    comm: Option<String>,
    status: Option<Status>,
    limit: Option<usize>,
    #[serde(default)]
    offset: usize,
}

/// Those that match: open ones first, then the newest.
pub async fn list(
    State(app): State<Arc<App>>,
    query: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<Page<Incident>>, Error> {
    let Query(filter) = query.map_err(|error| Error::bad_request(error.body_text()))?;
    let at = app.state.sources.view.borrow().as_ref().map(|view| view.at);
    let incidents = app.state.sources.incidents.borrow().clone();
    app.work(move || Json(page(at.map(rfc3339), &incidents, &filter)))
        .await
}

fn page(at: Option<String>, incidents: &[Incident], filter: &Filter) -> Page<Incident> {
    let matching = incidents
        .iter()
        .filter(|incident| filter.pid.is_none_or(|pid| pid == incident.pid))
        .filter(|incident| {
            filter
                .comm
                .as_ref()
                .is_none_or(|comm| *comm == incident.comm)
        })
        .filter(|incident| filter.status.is_none_or(|status| status == incident.status))
        .collect();
    let window = Window {
        limit: filter.limit,
        offset: filter.offset,
    };
    fn order(incident: &Incident) -> (bool, Reverse<&str>, &str) {
        (
            incident.status == Status::Resolved,
            Reverse(&incident.opened_at),
            &incident.key,
        )
    }
    window.page(
        "holdup.incidents/v1",
        at,
        matching,
        |a, b| order(a).cmp(&order(b)),
        Incident::clone,
    )
}
