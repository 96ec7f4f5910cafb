//! `holdup doctor`: what this kernel and these privileges allow, found by attaching for a moment.

use std::fmt::Write as _;

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
    probe::feature::{self, Features},
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
    maps: Vec<MapCost>,
    maps_memory_bytes: u64,
    /// Why nothing could be attached; null when it could.
    problem: Option<String>,
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
    let (plan, maps, problem) = match watch::check_namespace(&features) {
        Err(error) => (Vec::new(), Vec::new(), Some(error)),
        Ok(()) => match pipeline::try_out(&features, record::capacity(&config.limits)) {
            Ok(plane) => (plane.plan().to_vec(), Plane::maps(&plane), None),
            Err(error) => (Vec::new(), Vec::new(), Some(watch::plane_error(error))),
        },
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
        maps,
        problem: problem.map(|error| match error.hint {
            Some(hint) => format!("{}; {hint}", error.message),
            None => error.message,
        }),
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
