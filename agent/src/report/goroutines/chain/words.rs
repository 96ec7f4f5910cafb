//! What a goroutine does, in words.

use super::super::wait;
use crate::{
    explain::graph::facts::Activity,
    runtime::go::{
        Census,
        census::{Goroutine, Target},
        status::Status,
    },
};

/// What the graph calls it.
pub const fn activity(status: Status) -> Activity {
    match status {
        Status::Running | Status::Runnable | Status::Preempted | Status::CopyStack => {
            Activity::Runs
        }
        Status::Waiting | Status::Syscall | Status::Leaked => Activity::Blocked,
        Status::Dead => Activity::Dead,
        Status::Idle => Activity::Unknown,
    }
}

/// The rest of a sentence that begins with its name; `endpoint` is what it waits on, in words.
pub fn of(census: &Census, goroutine: &Goroutine, endpoint: Option<&str>) -> String {
    let reason = census.reason(goroutine);
    match goroutine.record.status {
        Status::Waiting | Status::Leaked => match (endpoint, &goroutine.target) {
            (Some(endpoint), Target::Descriptor(_, true)) => {
                format!("waits in {reason} to write to {endpoint}")
            }
            (Some(endpoint), _) => format!("waits in {reason} to read from {endpoint}"),
            (None, _) => match wait::describe(census, goroutine).as_str() {
                "" if reason.contains("GC") || reason.contains("garbage") => {
                    format!("waits in {reason} for the garbage collector")
                }
                "" => format!("waits in {reason}"),
                wakes if reason == "sleep" => format!("sleeps and {wakes}"),
                detail => format!("waits in {reason} on {detail}"),
            },
        },
        Status::Syscall => "is in a system call or in C".to_owned(),
        Status::Running => "runs".to_owned(),
        other => format!("is {}", other.as_str()),
    }
}
