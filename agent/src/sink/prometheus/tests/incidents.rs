//! Incidents as metrics.

use super::{
    super::{Http, Settings, Totals},
    shown,
};
use crate::model::{
    health::Health,
    incident::{Change, Event, HeldBackBy, Incident, Reason, SCHEMA, Status},
    workload::Workload,
};

fn incident(number: u32) -> Incident {
    Incident {
        schema: SCHEMA.into(),
        key: number.to_string(),
        reason: Reason::Stalled,
        status: Status::Open,
        opened_at: String::new(),
        refreshed_at: String::new(),
        resolved_at: None,
        pid: number,
        comm: format!("server-{number}"),
        workload: Workload::default(),
        lock: None,
        who: Default::default(),
        waiters: 1,
        waiters_peak: 1,
        oldest_wait_ns: None,
        oldest_is_at_least: false,
        text: String::new(),
        explanation: None,
        snapshots: Vec::new(),
        held_back: None,
    }
}

#[test]
fn more_than_fit_are_counted_together_and_resolved_ones_are_not() {
    let mut totals = Totals::new(Settings {
        max_incidents: 2,
        ..Settings::default()
    });
    let mut incidents: Vec<Incident> = (0..5).map(incident).collect();
    incidents[4].status = Status::Resolved;
    // Another one of the same series as the first.
    incidents.push(incident(0));
    let shown = shown(&totals.scrape(&Health::default(), &incidents, Http::default()));
    let active: Vec<(&str, f64)> = shown
        .gauges
        .iter()
        .filter(|((family, _), _)| family == "holdup_incident_active")
        .map(|((_, labels), count)| (labels.as_str(), *count))
        .collect();
    let wanted = [
        ("process=other,reason=stalled", 2.0),
        ("process=server-0,reason=stalled", 2.0),
        ("process=server-1,reason=stalled", 1.0),
    ];
    assert_eq!(active, wanted);
}

#[test]
fn each_is_counted_once() {
    let mut totals = Totals::new(Settings::default());
    let mut tell = |change: Change, number| {
        totals.event(&Event {
            change,
            incident: Incident {
                held_back: Some(HeldBackBy::CoolDown),
                ..incident(number)
            },
        });
        let opened = totals
            .own
            .incidents()
            .find(|(reason, _)| *reason == "stalled");
        opened.unwrap().1
    };
    assert_eq!(
        tell(Change::Opened { again: true }, 1),
        0,
        "open before the start"
    );
    assert_eq!(tell(Change::Opened { again: false }, 2), 1);
    assert_eq!(tell(Change::Refreshed, 2), 1);
    assert_eq!(
        tell(Change::Opened { again: false }, 2),
        1,
        "its alert is due now"
    );
    assert_eq!(tell(Change::Resolved, 2), 1);
    assert_eq!(tell(Change::Opened { again: false }, 2), 2, "another time");
}
