//! `/api/v1/verdict`: made for a liveness probe, so that it fails open. Only `wedged` is 503.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;

use super::params::Params;
use crate::{
    model::verdict::{Health, SCHEMA, Selector, Verdict},
    proc::time::rfc3339,
    serve::{error::Error, router::App},
};

/// A Kubernetes probe that says nothing else waits for a second: no answer would count against the pod.
const PATIENCE: Duration = Duration::from_millis(700);

/// Whom it is about: exactly one of them.
#[derive(Debug, Default, Deserialize)]
pub struct Target {
    pid: Option<u32>,
    cgroup: Option<String>,
    pod: Option<String>,
}

impl Target {
    fn selector(self) -> Option<Selector> {
        match (self.pid, self.cgroup, self.pod) {
            (Some(pid), None, None) => Some(Selector::Pid(pid)),
            (None, Some(cgroup), None) => Some(Selector::Cgroup(cgroup)),
            (None, None, Some(pod)) => Some(Selector::Pod(pod)),
            _ => None,
        }
    }
}

/// 200 for healthy and unknown, 503 for wedged. 400 for a target that cannot be understood.
pub async fn judge(
    State(app): State<Arc<App>>,
    Params(target): Params<Target>,
) -> Result<Response, Error> {
    let Some(selector) = target.selector() else {
        let text = "say whom it is about: one of ?pid=, ?cgroup= and ?pod=";
        return Err(Error::bad_request(text));
    };
    let judge = Arc::clone(&app.state.sources.verdict);
    // Less than the half of the response's time after which any other answer is given up with an error.
    let patience = PATIENCE.min(app.access().limits.response_timeout / 4);
    let judged = tokio::time::timeout(patience, app.work(move || judge(&selector))).await;
    let verdict = match judged {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(error)) => unknown(&format!("the agent could not judge it: {error}")),
        Err(_) => unknown("the agent took too long to judge it"),
    };
    let status = match verdict.health {
        Health::Healthy | Health::Unknown => StatusCode::OK,
        Health::Wedged => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok((status, Json(verdict)).into_response())
}

fn unknown(text: &str) -> Verdict {
    Verdict {
        schema: SCHEMA.to_owned(),
        at: rfc3339(SystemTime::now()),
        health: Health::Unknown,
        text: text.to_owned(),
        incidents: Vec::new(),
    }
}
