//! `/api/v1/incidents`.

use std::{cmp::Reverse, sync::Arc};

use axum::{Json, extract::State};
use serde::Deserialize;

use super::{
    page::{Page, Who, Window},
    params::Params,
};
use crate::{
    model::incident::{Incident, Status},
    proc::time::rfc3339,
    serve::{error::Error, router::App},
};

/// Which incidents.
#[derive(Debug, Default, Deserialize)]
pub struct Filter {
    status: Option<Status>,
}

/// Those that match: open ones first, then the newest.
pub async fn list(
    State(app): State<Arc<App>>,
    Params(who): Params<Who>,
    Params(window): Params<Window>,
    Params(filter): Params<Filter>,
) -> Result<Json<Page<Incident>>, Error> {
    let at = app.state.sources.view.borrow().as_ref().map(|view| view.at);
    let incidents = app.state.sources.incidents.borrow().clone();
    app.work(move || Json(page(at.map(rfc3339), &incidents, &who, &filter, window)))
        .await
}

fn page(
    at: Option<String>,
    incidents: &[Incident],
    who: &Who,
    filter: &Filter,
    window: Window,
) -> Page<Incident> {
    let matching = incidents
        .iter()
        .filter(|incident| who.is(incident.pid, Some(&incident.comm)))
        .filter(|incident| filter.status.is_none_or(|status| status == incident.status))
        .collect();
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
