//! What to try, in which order, and what is known not to be worth trying. Pure: table x features x configuration.

use super::{
    feature::Features,
    table::{CALLS, Call, RAW, Raw},
};

/// Verdict on one row before anything is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Try it.
    Try,
    /// Not asked for, with the reason.
    Skip(String),
    /// Cannot work here, with the reason.
    Impossible(String),
}

/// Plan for a system call: `fentry` is tried first, the tracepoints next.
#[derive(Debug)]
pub struct CallPlan {
    /// Row of the table.
    pub call: &'static Call,
    /// The cheaper hook.
    pub fentry: Step,
    /// The hook every kernel has.
    pub tracepoint: Step,
}

/// Plan for a raw tracepoint.
#[derive(Debug)]
pub struct RawPlan {
    /// Row of the table.
    pub raw: &'static Raw,
    /// What to do.
    pub step: Step,
}

/// What the user asked for, as far as it decides about probes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Children of watched processes are watched.
    pub follow_forks: bool,
    /// Uprobes will be attached.
    pub uprobes: bool,
}

/// Plans the system calls.
#[must_use]
pub fn calls(features: &Features) -> Vec<CallPlan> {
    CALLS
        .iter()
        .map(|call| {
            let exists = features.has_syscall_tracepoint(&format!("sys_enter_{}", call.name));
            let tracepoint = if features.tracefs.is_none() {
                Step::Impossible("tracefs is not mounted".into())
            } else if exists {
                Step::Try
            } else {
                Step::Impossible(format!(
                    "the kernel has no such call (Linux {})",
                    call.since
                ))
            };
            let fentry = if features.task.is_err() {
                Step::Impossible("the kernel has no BTF".into())
            } else {
                Step::Try
            };
            CallPlan {
                call,
                fentry,
                tracepoint,
            }
        })
        .collect()
}

/// Plans the raw tracepoints.
#[must_use]
pub fn raws(wanted: Wanted) -> Vec<RawPlan> {
    RAW.iter()
        .map(|raw| {
            let step = if raw.only_to_follow && !wanted.follow_forks {
                Step::Skip("children are not followed".into())
            } else {
                Step::Try
            };
            RawPlan { raw, step }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(tracefs: Option<&str>, btf: bool) -> Features {
        Features {
            task: if btf {
                Ok(Default::default())
            } else {
                Err("no BTF".into())
            },
            task_regs: true,
            tracefs: tracefs.map(Into::into),
            initial_pid_namespace: true,
        }
    }

    #[test]
    fn without_btf_only_tracepoints_are_tried() {
        let plan = calls(&features(Some("/sys/kernel/tracing"), false));
        assert!(
            plan.iter()
                .all(|row| matches!(row.fentry, Step::Impossible(_)))
        );
        assert_eq!(plan[0].tracepoint, Step::Try);
    }

    #[test]
    fn without_tracefs_only_fentry_is_tried() {
        let plan = calls(&features(None, true));
        assert!(plan.iter().all(|row| row.fentry == Step::Try));
        assert!(
            plan.iter()
                .all(|row| matches!(row.tracepoint, Step::Impossible(_)))
        );
    }

    #[test]
    fn forks_are_watched_only_when_followed() {
        let step = |follow_forks| {
            let plan = raws(Wanted {
                follow_forks,
                ..Wanted::default()
            });
            plan.into_iter()
                .find(|row| row.raw.only_to_follow)
                .map(|row| row.step)
        };
        assert!(matches!(step(false), Some(Step::Skip(_))));
        assert_eq!(step(true), Some(Step::Try));
    }
}
