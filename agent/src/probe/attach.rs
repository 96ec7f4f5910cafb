//! Loading and attaching by the plan. A hook that the kernel refuses is replaced by its alternative; the reason is kept.

use std::{fs::File, io, os::fd::AsFd as _, os::fd::AsRawFd as _};

use aya::{
    Btf, Ebpf, EbpfError,
    programs::{FEntry, FExit, Iter, Program, ProgramError, RawTracePoint, TracePoint},
};
use holdup_abi::config::Config;

use super::{
    feature::Features,
    object::{self, Capacity},
    plan::{self, CallPlan, RawPlan, Step, Wanted},
    table,
};
use crate::model::plan::{PlanEntry, Status};

#[cfg(target_arch = "x86_64")]
const WRAPPER_PREFIX: &str = "__x64_sys_";
#[cfg(target_arch = "aarch64")]
const WRAPPER_PREFIX: &str = "__arm64_sys_";

/// Why nothing was attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Maps could not be created.
    #[error("the kernel refuses BPF maps")]
    Load(#[source] Box<EbpfError>),
    /// No way of hooking a call that is needed worked.
    #[error("cannot watch {what}: {reason}")]
    Required {
        /// What cannot be watched.
        what: &'static str,
        /// What the kernel said.
        reason: String,
        /// The kernel's answer was about privileges.
        not_permitted: bool,
    },
}

impl AttachError {
    /// Whether more privileges would help.
    #[must_use]
    pub fn is_not_permitted(&self) -> bool {
        match self {
            Self::Load(error) => chain_is_not_permitted(&**error),
            Self::Required { not_permitted, .. } => *not_permitted,
        }
    }
}

/// Attached programs. Dropping it detaches them.
#[derive(Debug)]
pub struct Attached {
    /// The loaded object.
    pub ebpf: Ebpf,
    /// Every row of the table with its fate.
    pub plan: Vec<PlanEntry>,
}

/// Loads the object. The maps exist afterwards; nothing is attached.
///
/// # Errors
/// The kernel refuses the maps.
pub fn load(config: &Config, capacity: Capacity, btf: Option<&Btf>) -> Result<Ebpf, AttachError> {
    object::load(config, capacity, btf).map_err(|error| AttachError::Load(Box::new(error)))
}

/// Attaches everything the plan says, ends before beginnings, so that no wait that is seen to begin can end unseen.
///
/// # Errors
/// A required probe cannot be attached in any way.
pub fn attach(
    mut ebpf: Ebpf,
    btf: Option<&Btf>,
    features: &Features,
    wanted: Wanted,
) -> Result<Attached, AttachError> {
    let mut plan = Vec::new();
    for row in plan::raws(wanted) {
        attach_raw(&mut ebpf, &row, &mut plan)?;
    }
    for row in plan::calls(features) {
        attach_call(&mut ebpf, btf, &row, &mut plan)?;
    }
    load_census(&mut ebpf, btf, features, &mut plan);
    Ok(Attached { ebpf, plan })
}

/// Loads the task iterator alone, for a look without attaching anything.
pub fn census_only(mut ebpf: Ebpf, btf: Option<&Btf>, features: &Features) -> Attached {
    let mut plan = Vec::new();
    load_census(&mut ebpf, btf, features, &mut plan);
    Attached { ebpf, plan }
}

impl Attached {
    /// Attaches further raw tracepoints.
    ///
    /// # Errors
    /// A required one is refused.
    pub fn add(&mut self, rows: &'static [table::Raw]) -> Result<(), AttachError> {
        rows.iter().try_for_each(|raw| {
            let row = RawPlan {
                raw,
                step: Step::Try,
            };
            attach_raw(&mut self.ebpf, &row, &mut self.plan)
        })
    }

    /// Whether the task iterator is loaded.
    #[must_use]
    pub fn has_census(&self) -> bool {
        self.plan
            .iter()
            .any(|entry| entry.probe == CENSUS_NAME && entry.status == Status::Attached)
    }

    /// Opens a new run of the task iterator; reading the file runs it.
    ///
    /// # Errors
    /// The iterator is not loaded, or the kernel refuses.
    pub fn open_census(&mut self) -> io::Result<File> {
        let iter: &mut Iter = program(&mut self.ebpf, table::CENSUS).map_err(io::Error::other)?;
        let id = iter.attach().map_err(io::Error::other)?;
        let link = iter.take_link(id).map_err(io::Error::other)?;
        link.into_file().map_err(io::Error::other)
    }

    /// Events that the kernel skipped because the same program was already running on that processor, summed over all
    /// programs (Linux 5.12; 0 before).
    #[must_use]
    pub fn recursion_misses(&self) -> u64 {
        self.ebpf
            .programs()
            .filter_map(|(_, program)| program.fd().ok())
            .filter_map(|fd| {
                let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
                let text = std::fs::read_to_string(path).ok()?;
                let value = text
                    .lines()
                    .find_map(|line| line.strip_prefix("recursion_misses:"))?;
                value.trim().parse::<u64>().ok()
            })
            .sum()
    }
}

/// Name of the task iterator in the plan.
const CENSUS_NAME: &str = "task iterator";

fn load_census(ebpf: &mut Ebpf, btf: Option<&Btf>, features: &Features, plan: &mut Vec<PlanEntry>) {
    let result = match (btf, &features.task) {
        (Some(btf), Ok(_)) => {
            program::<Iter>(ebpf, table::CENSUS).and_then(|iter| iter.load("task", btf))
        }
        _ => {
            let reason = "the kernel has no BTF; /proc is read instead".into();
            plan.push(PlanEntry {
                probe: CENSUS_NAME.into(),
                status: Status::Unavailable,
                reason,
            });
            return;
        }
    };
    plan.push(outcome(
        CENSUS_NAME.into(),
        result,
        "threads that are parked already",
    ));
}

fn attach_raw(
    ebpf: &mut Ebpf,
    row: &RawPlan,
    plan: &mut Vec<PlanEntry>,
) -> Result<(), AttachError> {
    let RawPlan { raw, step } = row;
    let probe = format!("{} (raw tracepoint)", raw.name);
    if let Some(entry) = not_tried(&probe, step) {
        plan.push(entry);
        return Ok(());
    }
    let result = program::<RawTracePoint>(ebpf, raw.program).and_then(|program| {
        program.load()?;
        program.attach(raw.name).map(|_| ())
    });
    if raw.required
        && let Err(error) = &result
    {
        return Err(required(raw.name, error));
    }
    plan.push(outcome(probe, result, raw.why));
    Ok(())
}

fn attach_call(
    ebpf: &mut Ebpf,
    btf: Option<&Btf>,
    row: &CallPlan,
    plan: &mut Vec<PlanEntry>,
) -> Result<(), AttachError> {
    let call = row.call;
    let (fentry_name, tracepoint_name) = (
        format!("{} (fentry)", call.name),
        format!("{} (tracepoint)", call.name),
    );
    match (not_tried(&fentry_name, &row.fentry), btf) {
        (None, Some(btf)) => {
            let result = attach_fentry(ebpf, btf, row);
            let done = result.is_ok();
            plan.push(outcome(fentry_name, result, call.why));
            if done {
                plan.push(PlanEntry {
                    probe: tracepoint_name,
                    status: Status::Skipped,
                    reason: "fentry is attached".into(),
                });
                return Ok(());
            }
        }
        (entry, _) => plan.extend(entry),
    }
    if let Some(entry) = not_tried(&tracepoint_name, &row.tracepoint) {
        if call.required {
            return Err(AttachError::Required {
                what: call.name,
                reason: entry.reason,
                not_permitted: false,
            });
        }
        plan.push(entry);
        return Ok(());
    }
    let result = attach_tracepoints(ebpf, row);
    if call.required
        && let Err(error) = &result
    {
        return Err(required(call.name, error));
    }
    plan.push(outcome(tracepoint_name, result, call.why));
    Ok(())
}

fn attach_fentry(ebpf: &mut Ebpf, btf: &Btf, row: &CallPlan) -> Result<(), ProgramError> {
    let function = row
        .call
        .function
        .map_or_else(|| format!("{WRAPPER_PREFIX}{}", row.call.name), Into::into);
    let mut exit_link = None;
    if let Some(name) = row.call.fexit {
        let exit: &mut FExit = program(ebpf, name)?;
        exit.load(&function, btf)?;
        exit_link = Some((name, exit.attach()?));
    }
    let enter = |ebpf: &mut Ebpf| {
        let enter: &mut FEntry = program(ebpf, row.call.fentry)?;
        enter.load(&function, btf)?;
        enter.attach().map(|_| ())
    };
    let result = enter(ebpf);
    if let (Err(_), Some((name, link))) = (&result, exit_link) {
        // Half a pair is no pair: the tracepoints will do both ends.
        program::<FExit>(ebpf, name)?.detach(link)?;
    }
    result
}

fn attach_tracepoints(ebpf: &mut Ebpf, row: &CallPlan) -> Result<(), ProgramError> {
    let ends = [(row.call.exit, "exit"), (Some(row.call.enter), "enter")];
    for (name, end) in ends.iter().filter_map(|(name, end)| Some(((*name)?, end))) {
        let tracepoint: &mut TracePoint = program(ebpf, name)?;
        match tracepoint.load() {
            // One program serves the exits of several calls.
            Ok(()) | Err(ProgramError::AlreadyLoaded) => {}
            Err(error) => return Err(error),
        }
        tracepoint.attach("syscalls", &format!("sys_{end}_{}", row.call.name))?;
    }
    Ok(())
}

fn program<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T, ProgramError>
where
    &'a mut T: TryFrom<&'a mut Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or_else(|| io::Error::other(format!("no program {name} in the object")))?
        .try_into()
}

fn not_tried(probe: &str, step: &Step) -> Option<PlanEntry> {
    let (status, reason) = match step {
        Step::Try => return None,
        Step::Skip(reason) => (Status::Skipped, reason),
        Step::Impossible(reason) => (Status::Unavailable, reason),
    };
    Some(PlanEntry {
        probe: probe.into(),
        status,
        reason: reason.clone(),
    })
}

fn outcome(probe: String, result: Result<(), ProgramError>, why: &str) -> PlanEntry {
    match result {
        Ok(()) => PlanEntry {
            probe,
            status: Status::Attached,
            reason: why.into(),
        },
        Err(error) => PlanEntry {
            probe,
            status: Status::Unavailable,
            reason: describe(&error),
        },
    }
}

fn required(what: &'static str, error: &ProgramError) -> AttachError {
    AttachError::Required {
        what,
        reason: describe(error),
        not_permitted: chain_is_not_permitted(error),
    }
}

/// The innermost cause in a few words: a verifier's log belongs into a bug report, not into a table.
pub(super) fn describe(error: &ProgramError) -> String {
    if let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    {
        let log = verifier_log.to_string();
        let last = log
            .lines()
            .rev()
            .find(|line| !line.starts_with("processed "))
            .unwrap_or("");
        return if last.trim().is_empty() {
            format!("not loaded: {io_error}")
        } else {
            format!("not loaded: {io_error}: {}", last.trim())
        };
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn chain_is_not_permitted(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
        {
            return true;
        }
        next = cause.source();
    }
    false
}
