//! `holdup doctor`: what this kernel and these privileges allow, found by attaching for a moment.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

use super::{
    args::DoctorFormat,
    config::{DoctorConfig, ReportOptions},
    exit::{Error, Exit},
    output::Output,
    record, watch,
};
use crate::{
    ingest::{cost::MapCost, plane::Plane},
    model::plan::{PlanEntry, Status},
    pipeline,
    probe::{
        feature::{self, Features},
        uprobe::price,
    },
};

/// `holdup.doctor/v1`.
#[derive(Debug, Serialize)]
struct Diagnosis {
    schema: &'static str,
    kernel: String,
    architecture: &'static str,
    capabilities: Vec<Capability>,
    features: Vec<Feature>,
    plan: Vec<PlanEntry>,
    /// What `--probe` has to reckon with; null when nothing could be attached.
    uprobes: Option<Uprobes>,
    maps: Vec<MapCost>,
    maps_memory_bytes: u64,
    /// Why nothing could be attached; null when it could.
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct Uprobes {
    /// How they are attached, or why they cannot be.
    way: String,
    /// Measured cost of one hit in nanoseconds, by what is probed.
    ns_per_hit: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Serialize)]
struct Capability {
    name: &'static str,
    held: bool,
    needed_for: &'static str,
}

#[derive(Debug, Serialize)]
struct Feature {
    name: &'static str,
    present: bool,
    detail: String,
}

/// Capabilities that matter, with their bits (`include/uapi/linux/capability.h`).
const CAPABILITIES: &[(u32, &str, &str)] = &[
    (39, "CAP_BPF", "programs and maps"),
    (38, "CAP_PERFMON", "attaching to tracepoints"),
    (
        19,
        "CAP_SYS_PTRACE",
        "reading the memory of other processes: stacks, holders",
    ),
    (
        2,
        "CAP_DAC_READ_SEARCH",
        "tracefs, and binaries of other users",
    ),
    (
        40,
        "CAP_CHECKPOINT_RESTORE",
        "binaries that were deleted or replaced while they run",
    ),
    (
        21,
        "CAP_SYS_ADMIN",
        "stands for all of these on older kernels; not needed on new ones",
    ),
];

/// Looks, and reports what was found.
///
/// # Errors
/// The answer cannot be written. A kernel that refuses is an answer: then the exit status says so.
pub fn run(config: &DoctorConfig) -> Result<Exit, Error> {
    let diagnosis = diagnose(config)?;
    let text = match config.format {
        DoctorFormat::Text => text(&diagnosis),
        DoctorFormat::Json => {
            let mut json = serde_json::to_string_pretty(&diagnosis).map_err(Error::failed)?;
            json.push('\n');
            json
        }
    };
    Output::open(&ReportOptions::default())?.write(text.as_bytes())?;
    Ok(if diagnosis.problem.is_none() {
        Exit::Done
    } else {
        Exit::NotPermitted
    })
}

fn diagnose(config: &DoctorConfig) -> Result<Diagnosis, Error> {
    let features = Features::detect();
    let held = feature::effective_capabilities().map_err(Error::failed)?;
    let attached = watch::check_namespace(&features).and_then(|()| {
        pipeline::try_out(&features, record::capacity(&config.limits)).map_err(watch::plane_error)
    });
    let (plan, uprobes, maps, problem) = match attached {
        Ok(mut plane) => {
            let uprobes = uprobes(&mut plane);
            (plane.plan().to_vec(), uprobes, plane.maps(), None)
        }
        Err(error) => (Vec::new(), None, Vec::new(), Some(error)),
    };
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Ok(Diagnosis {
        schema: "holdup.doctor/v1",
        kernel: kernel.trim().to_owned(),
        architecture: std::env::consts::ARCH,
        capabilities: CAPABILITIES
            .iter()
            .map(|&(bit, name, needed_for)| Capability {
                name,
                held: held >> bit & 1 == 1,
                needed_for,
            })
            .collect(),
        features: describe(&features),
        maps_memory_bytes: maps.iter().map(|map| map.memory_bytes).sum(),
        plan,
        uprobes,
        maps,
        problem: problem.map(|error| match error.hint {
            Some(hint) => format!("{}; {hint}", error.message),
            None => error.message,
        }),
    })
}

fn uprobes(plane: &mut Plane) -> Option<Uprobes> {
    let (uprobes, ebpf) = plane.uprobes()?;
    Some(match price::measure(ebpf, uprobes) {
        Ok(prices) => Uprobes {
            way: prices.way.to_string(),
            ns_per_hit: price::NAMES
                .into_iter()
                .zip(prices.ns)
                .filter_map(|(name, ns)| Some((name, ns?.round() as u64)))
                .collect(),
        },
        Err(error) => Uprobes {
            way: format!("none: {error}"),
            ns_per_hit: BTreeMap::new(),
        },
    })
}

fn describe(features: &Features) -> Vec<Feature> {
    let Features {
        task,
        task_regs,
        tracefs,
        initial_pid_namespace,
    } = features;
    vec![
        Feature {
            name: "kernel BTF",
            present: task.is_ok(),
            detail: task
                .as_ref()
                .err()
                .cloned()
                .unwrap_or_else(|| "threads that were parked before, and their ages".to_owned()),
        },
        Feature {
            name: "bpf_task_pt_regs",
            present: *task_regs,
            detail: if *task_regs {
                "samples carry stack memory: stacks without frame pointers".to_owned()
            } else {
                "Linux 5.15; samples have frame-pointer stacks only".to_owned()
            },
        },
        Feature {
            name: "tracefs",
            present: tracefs.is_some(),
            detail: tracefs
                .clone()
                .unwrap_or_else(|| "mount -t tracefs tracefs /sys/kernel/tracing".to_owned()),
        },
        Feature {
            name: "host's pid namespace",
            present: *initial_pid_namespace,
            detail: "process ids are the kernel's".to_owned(),
        },
    ]
}

fn text(diagnosis: &Diagnosis) -> String {
    let Diagnosis {
        schema: _,
        kernel,
        architecture,
        capabilities,
        features,
        plan,
        uprobes,
        maps,
        maps_memory_bytes,
        problem,
    } = diagnosis;
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = text.write_fmt(line);
        text.push('\n');
    };
    let mark = |good: bool| if good { "yes" } else { "no" };
    line(format_args!(
        "holdup doctor: Linux {kernel} on {architecture}\n"
    ));
    line(format_args!("Privileges"));
    for Capability {
        name,
        held,
        needed_for,
    } in capabilities
    {
        line(format_args!("  {:<4}{name:<24}{needed_for}", mark(*held)));
    }
    line(format_args!("\nKernel"));
    for Feature {
        name,
        present,
        detail,
    } in features
    {
        line(format_args!("  {:<4}{name:<24}{detail}", mark(*present)));
    }
    if !plan.is_empty() {
        line(format_args!("\nProbes, attached for a moment"));
    }
    for PlanEntry {
        probe,
        status,
        reason,
    } in plan
    {
        let status = match status {
            Status::Attached => "yes",
            Status::Skipped => "-",
            Status::Unavailable => "no",
        };
        line(format_args!("  {status:<4}{probe:<36}{reason}"));
    }
    if let Some(Uprobes { way, ns_per_hit }) = uprobes {
        line(format_args!("\nCost of a hit of a uprobe ({way})"));
        for (name, ns) in ns_per_hit {
            line(format_args!("  {:>7.2} us  {name}", *ns as f64 / 1000.0));
        }
    }
    if !maps.is_empty() {
        line(format_args!(
            "\nKernel memory: {}",
            memory(*maps_memory_bytes)
        ));
    }
    for MapCost {
        name,
        capacity,
        memory_bytes,
        when_full,
    } in maps
    {
        line(format_args!(
            "  {:>10}  {name:<12}{capacity:>9}  {when_full}",
            memory(*memory_bytes)
        ));
    }
    match problem {
        Some(problem) => line(format_args!("\nholdup does not work here: {problem}")),
        None => line(format_args!("\nholdup works here.")),
    }
    text
}

/// `12.3 MiB`.
fn memory(bytes: u64) -> String {
    const KIB: f64 = 1024.0;
    // Exact below 2^53, far above any map.
    let kib = bytes as f64 / KIB;
    if kib < KIB {
        format!("{kib:.1} KiB")
    } else {
        format!("{:.1} MiB", kib / KIB)
    }
}
