//! From counters to metrics: names, help and labels.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use prometheus_client::registry::Unit;

use super::{
    amounts::seconds,
    exposition::{Exposition, Family, Value},
    label::{Labels, Name, OTHER, bounded},
    own::Http,
    totals::Totals,
};
use crate::model::{
    health::{Health, Loop, Queue},
    incident::{Incident, Status},
};

impl Totals {
    /// Takes what is to be written now. `incidents` are those that are open; others are left out.
    #[must_use]
    pub fn scrape(&mut self, health: &Health, incidents: &[Incident], http: Http) -> Exposition {
        let mut families = Vec::new();
        self.locks(&mut families);
        self.parked(&mut families);
        self.goroutines(&mut families);
        self.incidents(incidents, &mut families);
        self.programs(health, &mut families);
        self.losses(health, &mut families);
        state(health, &mut families);
        web(http, &mut families);
        Exposition(families.into())
    }

    fn locks(&self, families: &mut Vec<Family>) {
        let mut waits = family(
            "holdup_lock_wait",
            "Time that threads waited for a lock, finished waits",
        );
        waits.unit = Some(Unit::Seconds);
        let mut waiters = family("holdup_lock_waiters", "Threads that wait for a lock now");
        let mut oldest = family(
            "holdup_lock_oldest_wait",
            "Age of the longest wait that goes on",
        );
        oldest.unit = Some(Unit::Seconds);
        let mut handoffs = family(
            "holdup_lock_handoffs",
            "Waits that ended because the lock was handed on",
        );

        let at_ns = self.at_ns();
        let shown = self.shown.iter().filter_map(|&place| {
            let series = self.series.get(place)?;
            let mut labels: Vec<_> = self.owners.get(series.owner())?.name.labels().collect();
            labels.extend(series.group().labels());
            labels.push(("lock", Arc::clone(series.id())));
            labels.extend(series.site.clone().map(|site| ("site", site)));
            let amounts = series.shown.as_ref()?.amounts.as_deref();
            Some((
                Labels::from(labels),
                series.waiters,
                series.oldest_since_ns,
                amounts,
            ))
        });
        let rest = self.owners.iter().flat_map(|(_, owner)| {
            owner.rest.iter().map(|(group, rest)| {
                let mut labels: Vec<_> = owner.name.labels().collect();
                labels.extend(group.labels());
                labels.push(("lock", OTHER.into()));
                let amounts = rest.amounts.as_deref();
                (
                    Labels::from(labels),
                    rest.waiters,
                    rest.oldest_since_ns,
                    amounts,
                )
            })
        });
        for (labels, waiting, oldest_since_ns, amounts) in shown.chain(rest) {
            let age_ns = oldest_since_ns.map_or(0, |since_ns| at_ns.saturating_sub(since_ns));
            waiters
                .series
                .push((Arc::clone(&labels), Value::Now(waiting)));
            oldest
                .series
                .push((Arc::clone(&labels), Value::NowFloat(seconds(age_ns.into()))));
            if let Some(amounts) = amounts.filter(|_| self.counting) {
                let wait = Value::Waits(Box::new(amounts.clone()), self.settings.bucket_step);
                waits.series.push((Arc::clone(&labels), wait));
                handoffs
                    .series
                    .push((labels, Value::Count(amounts.handoffs)));
            }
        }
        families.extend([waits, waiters, oldest, handoffs]);
        if self.counting {
            let expired = &self.expired;
            families.push(single(
                "holdup_expired_waits",
                "Finished waits that were counted in series that are gone",
                Value::Count(expired.waits()),
            ));
            let mut wait = single(
                "holdup_expired_wait",
                "Time of finished waits that was counted in series that are gone",
                Value::CountSeconds(seconds(expired.wait_ns)),
            );
            wait.unit = Some(Unit::Seconds);
            families.push(wait);
            families.push(single(
                "holdup_expired_handoffs",
                "Hand-offs that were counted in series that are gone",
                Value::Count(expired.handoffs),
            ));
        }
        let folded = [("process", self.owners.folded), ("lock", self.folded)];
        families.push(labelled(
            "holdup_folded",
            "What is counted in series of others now because there are too many: see the settings",
            folded.map(|(what, count)| (labels([("what", what)]), Value::Now(count))),
        ));
    }

    fn parked(&self, families: &mut Vec<Family>) {
        let series = self.owners.iter().flat_map(|(_, owner)| {
            owner.parked.iter().map(|(group, count)| {
                let labels = owner.name.labels().chain(group.labels());
                (labels.collect(), Value::Now(*count))
            })
        });
        families.push(labelled(
            "holdup_parked_threads",
            "Threads asleep in a futex wait now, and goroutines that wait for a lock or the like, by what they wait for",
            series,
        ));
    }

    fn goroutines(&self, families: &mut Vec<Family>) {
        const BY: [(&str, &str, &str); 2] = [
            ("holdup_goroutines", "Goroutines, by status", "status"),
            (
                "holdup_goroutines_waiting",
                "Goroutines that wait, by reason in the words of Go",
                "reason",
            ),
        ];
        for (number, (name, help, label)) in BY.into_iter().enumerate() {
            let series = self.owners.iter().flat_map(|(_, owner)| {
                let counts = owner.goroutines.get(number).into_iter().flatten();
                counts.map(|(word, count)| {
                    let word = std::iter::once((label, Arc::clone(word)));
                    let labels: Labels = owner.name.labels().chain(word).collect();
                    (labels, Value::Now(*count))
                })
            });
            families.push(labelled(name, help, series));
        }
    }

    fn incidents(&self, incidents: &[Incident], families: &mut Vec<Family>) {
        let opened = self.own.incidents();
        families.push(labelled(
            "holdup_incidents",
            "Incidents that were opened",
            opened.map(|(reason, count)| (labels([("reason", reason)]), Value::Count(count))),
        ));
        let mut active: BTreeMap<Labels, u64> = BTreeMap::new();
        for incident in incidents {
            if incident.status != Status::Open {
                continue;
            }
            let mut labels = incident_labels(incident);
            if active.len() >= self.settings.max_incidents && !active.contains_key(&labels) {
                labels = other_incident(incident);
            }
            *active.entry(labels).or_default() += 1;
        }
        families.push(labelled(
            "holdup_incident_active",
            "Incidents that are open now",
            active
                .into_iter()
                .map(|(labels, count)| (labels, Value::Now(count))),
        ));
    }

    fn programs(&mut self, health: &Health, families: &mut Vec<Family>) {
        let mut runs = family("holdup_bpf_program_runs", "Times that a BPF program ran");
        let mut time = family("holdup_bpf_program_run", "Time that a BPF program ran for");
        time.unit = Some(Unit::Seconds);
        let mut attached = family(
            "holdup_bpf_program_attached",
            "1 for each BPF program that is attached",
        );
        let mut names = BTreeSet::new();
        for program in &health.programs {
            if !names.insert(&program.name) {
                continue;
            }
            let labels = labels([("program", &program.name)]);
            let (times, run_ns) = self.own.ran(program);
            attached.series.push((Arc::clone(&labels), Value::Now(1)));
            let run_time = run_ns.map(|run_ns| Value::CountSeconds(seconds(run_ns.into())));
            time.series
                .extend(run_time.map(|value| (Arc::clone(&labels), value)));
            runs.series
                .extend(times.map(|times| (labels, Value::Count(times))));
        }
        families.extend([runs, time, attached]);
    }

    fn losses(&self, health: &Health, families: &mut Vec<Family>) {
        let lost = self.own.lost();
        families.push(labelled(
            "holdup_lost",
            "What was not seen or not counted, by reason",
            lost.map(|(reason, count)| (labels([("reason", reason)]), Value::Count(count))),
        ));
        let held_back = [
            ("cool_down", health.held_back.cool_down),
            ("rate_limit", health.held_back.rate_limit),
            ("muted", health.held_back.muted),
        ];
        families.push(labelled(
            "holdup_incidents_held_back",
            "Incidents for which no alert was sent",
            held_back.map(|(reason, count)| (labels([("reason", reason)]), Value::Count(count))),
        ));
        let reloads = [
            ("ok", health.reloads.ok),
            ("refused", health.reloads.refused),
        ];
        families.push(labelled(
            "holdup_config_reloads",
            "Configurations that were read again",
            reloads.map(|(result, count)| (labels([("result", result)]), Value::Count(count))),
        ));
    }
}

fn incident_labels(incident: &Incident) -> Labels {
    let mut labels: Vec<_> = Name::new(&incident.comm, &incident.workload)
        .labels()
        .collect();
    labels.push(("reason", incident.reason.as_str().into()));
    if let Some(lock) = &incident.lock {
        labels.push(("kind", lock.kind.as_str().into()));
        labels.push(("lock", bounded(&lock.id)));
        labels.extend(lock.site.as_deref().map(|site| ("site", bounded(site))));
    }
    labels.into()
}

fn other_incident(incident: &Incident) -> Labels {
    labels([("process", OTHER), ("reason", incident.reason.as_str())])
}

/// One column of a table of things with names: metric, help, unit, value.
type Column<T> = (&'static str, &'static str, Option<Unit>, fn(&T) -> Value);

const LOOPS: [Column<Loop>; 7] = [
    (
        "holdup_loop_beats",
        "Turns that a loop of the agent has finished",
        None,
        |one| Value::Count(one.beats),
    ),
    (
        "holdup_loop_overruns",
        "Turns that ran into their deadline",
        None,
        |one| Value::Count(one.overruns),
    ),
    ("holdup_loop_panics", "Turns that panicked", None, |one| {
        Value::Count(one.panics)
    }),
    (
        "holdup_loop_restarts",
        "Times that a loop was started again",
        None,
        |one| Value::Count(one.restarts),
    ),
    (
        "holdup_loop_last_beat",
        "Time since a loop's last turn ended",
        Some(Unit::Seconds),
        |one| Value::NowFloat(seconds(one.last_beat_ns.into())),
    ),
    (
        "holdup_loop_patience",
        "Time without a beat after which a loop is late",
        Some(Unit::Seconds),
        |one| Value::NowFloat(seconds(one.patience_ns.into())),
    ),
    (
        "holdup_loop_longest_turn",
        "Longest turn so far",
        Some(Unit::Seconds),
        |one| Value::NowFloat(seconds(one.turn_max_ns.into())),
    ),
];

const QUEUES: [Column<Queue>; 3] = [
    (
        "holdup_queue_depth",
        "Entries that wait in a queue of the agent",
        None,
        |one| Value::Now(one.depth),
    ),
    (
        "holdup_queue_capacity",
        "Most entries that a queue holds",
        None,
        |one| Value::Now(one.capacity),
    ),
    (
        "holdup_queue_dropped",
        "Entries that were dropped because a queue was full, or given up",
        None,
        |one| Value::Count(one.dropped),
    ),
];

/// One metric for each column; of two things with the same name the first one counts.
fn table<T>(
    columns: &[Column<T>],
    label: &'static str,
    things: &[T],
    name: impl Fn(&T) -> &str,
    families: &mut Vec<Family>,
) {
    let mut names = BTreeSet::new();
    let rows: Vec<(Labels, &T)> = things
        .iter()
        .filter(|thing| names.insert(name(thing)))
        .map(|thing| (labels([(label, name(thing))]), thing))
        .collect();
    for (metric, help, unit, value) in columns {
        let series = rows
            .iter()
            .map(|(labels, thing)| (Arc::clone(labels), value(thing)));
        families.push(Family {
            unit: unit.clone(),
            ..labelled(metric, help, series)
        });
    }
}

fn state(health: &Health, families: &mut Vec<Family>) {
    table(&LOOPS, "loop", &health.loops, |one| &one.name, families);
    table(&QUEUES, "queue", &health.queues, |one| &one.name, families);
    let cost = &health.cost;
    families.push(single(
        "holdup_governor_level",
        "What the agent has given up to cost less: 0 nothing, 1 stacks, 2 samples, 3 detail of hot locks, 4 all hooks, 5 everything",
        Value::Now(cost.level as u64),
    ));
    families.push(single(
        "holdup_cpu_share_ratio",
        "Share of one CPU that the agent's own threads used lately",
        Value::NowFloat(cost.cpu_share),
    ));
    if let Some(share) = cost.bpf_share {
        families.push(single(
            "holdup_bpf_cpu_share_ratio",
            "Share of one CPU that the BPF programs used lately",
            Value::NowFloat(share),
        ));
    }
    let memory = [
        (
            "holdup_resident_memory",
            "Resident memory of the agent",
            cost.resident_bytes,
        ),
        (
            "holdup_map_memory",
            "Memory of the agent's maps in the kernel",
            cost.map_bytes,
        ),
    ];
    for (name, help, bytes) in memory {
        let family = single(name, help, Value::Now(bytes));
        families.push(Family {
            unit: Some(Unit::Bytes),
            ..family
        });
    }
    families.push(labelled(
        "holdup_build",
        "Version of the agent",
        [(
            labels([("version", env!("CARGO_PKG_VERSION"))]),
            Value::Info,
        )],
    ));
}

fn web(http: Http, families: &mut Vec<Family>) {
    let Http {
        connections,
        streams,
        requests,
        refused,
        cut,
        events_dropped,
    } = http;
    families.push(single(
        "holdup_http_connections",
        "Open connections",
        Value::Now(connections),
    ));
    families.push(single(
        "holdup_http_streams",
        "Open event streams",
        Value::Now(streams),
    ));
    families.push(labelled(
        "holdup_http_requests",
        "Answers by route and status",
        requests.iter().map(|(route, status, count)| {
            let code = status.to_string();
            (
                labels([("route", route), ("code", &code)]),
                Value::Count(*count),
            )
        }),
    ));
    let by_reason = |counts: Vec<(&'static str, u64)>| {
        counts
            .into_iter()
            .map(|(reason, count)| (labels([("reason", reason)]), Value::Count(count)))
    };
    families.push(labelled(
        "holdup_http_refused",
        "Clients that were turned away",
        by_reason(refused),
    ));
    families.push(labelled(
        "holdup_http_cut",
        "Connections that were cut off",
        by_reason(cut),
    ));
    families.push(single(
        "holdup_http_events_dropped",
        "Events that did not reach a reader of the stream, which was cut off",
        Value::Count(events_dropped),
    ));
}

fn labels<const N: usize>(labels: [(&'static str, &str); N]) -> Labels {
    labels.map(|(name, value)| (name, bounded(value))).into()
}

const fn family(name: &'static str, help: &'static str) -> Family {
    Family {
        name,
        help,
        unit: None,
        series: Vec::new(),
    }
}

fn labelled(
    name: &'static str,
    help: &'static str,
    series: impl IntoIterator<Item = (Labels, Value)>,
) -> Family {
    Family {
        series: series.into_iter().collect(),
        ..family(name, help)
    }
}

fn single(name: &'static str, help: &'static str, value: Value) -> Family {
    labelled(name, help, [(labels([]), value)])
}
