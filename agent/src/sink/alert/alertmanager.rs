//! Alertmanager, by its API v2: <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>.
//!
//! An alert goes on for as long as it is repeated, and ends at `endsAt`: should the agent die, it ends by itself.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use super::{
    http::{Client, Error, Failure, Secret},
    notice::{Notice, What},
    settings::Alertmanager,
    worker,
};
use crate::{
    model::incident::Incident,
    proc::time,
    sink::{json, text},
};

/// Name of all alerts: rules and routes tell them apart by `reason`.
const ALERT_NAME: &str = "HoldupThreadsHeldUp";
/// Longest value of a label or an annotation, in columns.
const MAX_VALUE: usize = 1024;
/// Repetitions after which an alert ends by itself, as Prometheus does.
const PATIENCE: u32 = 4;

/// One Alertmanager.
#[derive(Debug)]
pub struct Outlet {
    client: Client,
    token: Option<Secret>,
    labels: BTreeMap<String, String>,
    lasts: Duration,
}

impl Outlet {
    pub fn new(settings: &Alertmanager) -> Result<Self, Error> {
        let url = format!("{}/api/v2/alerts", settings.url.trim_end_matches('/'));
        Ok(Self {
            client: Client::new(url, settings.timeout, settings.ca_file.as_deref())?,
            token: settings
                .token_file
                .as_deref()
                .map(Secret::read)
                .transpose()?,
            labels: settings.labels.clone(),
            lasts: settings.repeat * PATIENCE,
        })
    }
}

impl worker::Outlet for Outlet {
    fn batch(&self) -> usize {
        64
    }

    fn deliver(&self, notices: &[Notice]) -> Result<(), Failure> {
        let now = SystemTime::now();
        let alerts: Vec<Alert> = notices
            .iter()
            .map(|notice| alert(notice, &self.labels, now + self.lasts))
            .collect();
        let body = json::compact(&alerts).map_err(|error| Failure::Refused(error.to_string()))?;
        let bearer = self
            .token
            .as_ref()
            .map(|token| format!("Bearer {}", String::from_utf8_lossy(token.bytes())));
        let header = bearer.as_deref().map(|value| ("authorization", value));
        self.client.post(&body, header.as_slice())
    }
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
}

fn alert(notice: &Notice, more: &BTreeMap<String, String>, lasts_until: SystemTime) -> Alert {
    let incident = &notice.incident;
    let ends_at = match (notice.what, &incident.resolved_at) {
        (What::Resolved, Some(at)) => at.clone(),
        (What::Resolved, None) => incident.refreshed_at.clone(),
        _ => time::rfc3339(lasts_until),
    };
    Alert {
        labels: labels(incident, more),
        annotations: annotations(incident),
        starts_at: incident.opened_at.clone(),
        ends_at,
    }
}

/// What names an alert: nothing that changes while it goes on.
fn labels(incident: &Incident, more: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let lock = incident.lock.as_ref();
    let workload = &incident.workload;
    let own = [
        ("alertname", Some(ALERT_NAME)),
        ("reason", Some(incident.reason.as_str())),
        ("incident", Some(incident.key.as_str())),
        ("process", Some(incident.comm.as_str())),
        ("lock", lock.map(|lock| lock.id.as_str())),
        ("kind", lock.map(|lock| lock.kind.as_str())),
        ("container_id", workload.container_id.as_deref()),
        ("pod_uid", workload.pod_uid.as_deref()),
        ("qos_class", workload.qos_class.as_deref()),
        ("unit", workload.unit.as_deref()),
    ];
    let mut labels = present(own);
    for (name, value) in more {
        labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    labels
}

fn annotations(incident: &Incident) -> BTreeMap<String, String> {
    let explained = incident.explanation.as_ref();
    present([
        ("summary", Some(incident.text.as_str())),
        ("description", explained.map(|it| it.text.as_str())),
        ("snapshot", incident.snapshots.last().map(String::as_str)),
    ])
}

/// Names come from targets. An empty label is none.
fn present<const N: usize>(values: [(&str, Option<&str>); N]) -> BTreeMap<String, String> {
    values
        .into_iter()
        .filter_map(|(name, value)| {
            let value = value.filter(|value| !value.is_empty())?;
            Some((name.to_owned(), text::truncate_end(value, MAX_VALUE)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::sink::{fixture, golden};

    #[test]
    fn golden_alerts() {
        let mut incident = fixture::bundle().incident;
        let more = BTreeMap::from([
            ("cluster".to_owned(), "north".to_owned()),
            ("reason".to_owned(), "not this one".to_owned()),
        ]);
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let notice = |what, incident: &Incident| Notice {
            what,
            incident: incident.clone(),
            queued_at: Instant::now(),
        };
        let open = alert(&notice(What::Repeated, &incident), &more, until);
        incident.resolved_at = Some("2026-11-21T12:30:00.000Z".to_owned());
        let resolved = alert(&notice(What::Resolved, &incident), &more, until);
        let text = String::from_utf8(json::render(&[open, resolved]).unwrap()).unwrap();
        golden::check("alertmanager.json", &text);
    }
}
