//! Facts about a process, its control group and the agent in a line each.

use super::{text, units};
use crate::model::{
    Bundle,
    bundle::{CgroupFacts, Pressure, ProcessFacts},
    workload::Workload,
};

/// `5 of 10`, `5`.
fn of(value: String, limit: Option<String>) -> String {
    match limit {
        Some(limit) => format!("{value} of {limit}"),
        None => value,
    }
}

fn join(parts: impl IntoIterator<Item = Option<String>>) -> String {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join(", ")
}

/// Pod, container, unit.
#[must_use]
pub fn workload(workload: &Workload) -> String {
    let Workload {
        cgroup,
        container_id,
        container_runtime,
        pod_uid,
        qos_class,
        unit,
    } = workload;
    let short = |id: &String| text::truncate_end(id, 13);
    let container = container_id.as_ref().map(|id| {
        let runtime = container_runtime.as_deref().unwrap_or("container");
        format!("{runtime} {}", short(id))
    });
    let pod = pod_uid.as_ref().map(|uid| match qos_class {
        Some(class) => format!("pod {uid} ({class})"),
        None => format!("pod {uid}"),
    });
    let named = join([pod, container, unit.clone()]);
    if named.is_empty() {
        cgroup.clone().unwrap_or_default()
    } else {
        named
    }
}

/// Threads, memory, limits.
#[must_use]
pub fn process(facts: &ProcessFacts) -> String {
    let ProcessFacts {
        pid: _,
        comm: _,
        exe,
        threads,
        resident_bytes,
        swapped_bytes,
        max_files,
        max_threads,
        oom_score_adj,
    } = facts;
    let threads = threads.map(|n| {
        let limit = max_threads.map(units::count);
        of(units::plural(n, "thread", "threads"), limit)
    });
    let swapped = swapped_bytes.filter(|&n| n > 0);
    join([
        exe.clone(),
        threads,
        resident_bytes.map(|n| format!("{} resident", units::bytes(n))),
        swapped.map(|n| format!("{} swapped out", units::bytes(n))),
        max_files.map(|n| format!("at most {} files", units::count(n))),
        oom_score_adj
            .filter(|&n| n != 0)
            .map(|n| format!("oom_score_adj {n}")),
    ])
}

/// How near to its limits.
#[must_use]
pub fn cgroup(facts: &CgroupFacts) -> String {
    let CgroupFacts {
        path: _,
        memory_bytes,
        memory_max_bytes,
        oom,
        oom_kills,
        cpu_max_milli,
        cpu_throttled,
        cpu_throttled_ns,
        tasks,
        tasks_max,
        pressure: _,
    } = facts;
    let some = |n: Option<u64>| n.filter(|&n| n > 0);
    let throttled = some(*cpu_throttled).map(|n| {
        let time =
            cpu_throttled_ns.map_or(String::new(), |ns| format!(" for {}", units::duration(ns)));
        format!("throttled {}{time}", units::plural(n, "time", "times"))
    });
    join([
        memory_bytes.map(|n| {
            let limit = memory_max_bytes.map(units::bytes);
            format!("memory {}", of(units::bytes(n), limit))
        }),
        some(*oom).map(|n| format!("out of memory {}", units::plural(n, "time", "times"))),
        some(*oom_kills)
            .map(|n| format!("{} killed for it", units::plural(n, "process", "processes"))),
        cpu_max_milli.map(|n| {
            let cpus = units::decimal(n as f64 / 1000.0);
            format!("at most {cpus} CPUs")
        }),
        throttled,
        tasks.map(|n| {
            let limit = tasks_max.map(units::count);
            format!("tasks {}", of(units::count(n), limit))
        }),
    ])
}

/// Share of the time in which something was missing; nothing where nothing was.
#[must_use]
pub fn pressure(facts: &CgroupFacts) -> String {
    let percent = |hundredths: u64| format!("{}%", units::decimal(hundredths as f64 / 100.0));
    let known = facts.pressure.iter().take(8);
    join(known.map(|(resource, pressure)| {
        let Pressure {
            some_10s,
            some_60s,
            full_10s,
            full_60s,
        } = *pressure;
        let is_none = some_10s == 0 && some_60s == 0;
        let full = full_10s.unwrap_or(0).max(full_60s.unwrap_or(0));
        let full = match full {
            0 => String::new(),
            n => format!(", all tasks up to {}", percent(n)),
        };
        (!is_none).then(|| {
            format!(
                "{resource} {} over 10 s and {} over 60 s{full}",
                percent(some_10s),
                percent(some_60s)
            )
        })
    }))
}

/// Since when it has been running, and whether it saw all.
#[must_use]
pub fn agent(bundle: &Bundle) -> String {
    let health = &bundle.health;
    let lost: Vec<String> = bundle
        .loss
        .iter()
        .filter(|&(_, &n)| n > 0)
        .take(8)
        .map(|(name, &n)| format!("{name} {}", units::count(n)))
        .collect();
    let stuck = health.loops.iter().filter(|it| !it.is_alive());
    let stuck: Vec<&str> = stuck.map(|it| it.name.as_str()).take(8).collect();
    join([
        Some(format!("running since {}", health.started_at)),
        Some(match lost.as_slice() {
            [] => "nothing lost".to_owned(),
            lost => format!("lost: {}", lost.join(", ")),
        }),
        health.cost.why.clone(),
        (!stuck.is_empty()).then(|| format!("stuck: {}", stuck.join(", "))),
    ])
}
