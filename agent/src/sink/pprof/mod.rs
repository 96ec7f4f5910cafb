//! Gzipped `profile.proto`: sample types `contentions/count` and `delay/nanoseconds`, as in Go's own mutex profiles, so
//! that `go tool pprof` and everything that reads pprof shows waits of any language.
//!
//! Where processes written in Go were looked at there is a third type, `goroutine/count`, as in Go's goroutine profiles; in
//! a snapshot it is what readers show first.
//!
//! Labels of a sample: `lock` (the stable id), `name`, `kind`, `comm`, `state` (`finished` or `waiting`) and `pid`.
//! Addresses are ELF addresses of their module. Build ids are absent: the model does not carry them.

pub mod builder;
pub mod proto;

use std::{collections::HashMap, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use prost::Message as _;

use self::{
    builder::{Builder, signed},
    proto::{Profile, Sample, ValueType},
};
use super::{Error, Report, name, stacks};
use crate::model::{Frame, GoProcess};

/// Stands for a stack that could not be read, since readers drop samples without locations.
const NO_STACK: &str = "[no stack]";

/// Comment of captures with waits that go on.
const UPPER_BOUND: &str = "waits that go on (state=waiting) are counted as old as the oldest wait of their lock, \
     but no older than the recording";

/// Writes a report as a gzipped profile.
///
/// # Errors
/// [`Error::Pprof`] when compression fails.
pub fn render(report: &Report) -> Result<Vec<u8>, Error> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(&profile(report).encode_to_vec())
        .map_err(Error::Pprof)?;
    encoder.finish().map_err(Error::Pprof)
}

/// A report as a profile.
#[must_use]
pub fn profile(report: &Report) -> Profile {
    let mut builder = Builder::default();
    let mut value_type = |name, unit| ValueType {
        r#type: builder.string(name),
        unit: builder.string(unit),
    };
    let contentions = value_type("contentions", "count");
    let delay = value_type("delay", "nanoseconds");

    // Only where there are any: readers of other profiles need not be told of goroutines.
    let processes = report.go();
    let goroutine = (!processes.is_empty()).then(|| value_type("goroutine", "count"));

    let stacks = stacks::of(report);
    let mut samples = Vec::with_capacity(stacks.len());
    for stack in &stacks {
        let mut location_id = builder.stack(stack.frames);
        if location_id.is_empty() {
            location_id.push(builder.named(NO_STACK));
        }
        let state = if stack.going_on {
            "waiting"
        } else {
            "finished"
        };
        let label = vec![
            builder.text_label("lock", &stack.lock.id),
            builder.text_label("name", &name::lock(stack.lock)),
            builder.text_label("kind", stack.lock.kind.as_str()),
            builder.text_label("comm", stack.comm),
            builder.text_label("state", state),
            builder.number_label("pid", stack.lock.pid.into()),
        ];
        samples.push(Sample {
            location_id,
            value: values(goroutine, stack.count, stack.ns, 0),
            label,
        });
    }
    for ((pid, frames), count) in goroutines(processes) {
        let location_id = match frames {
            [] => vec![builder.named(NO_STACK)],
            frames => builder.stack(frames),
        };
        samples.push(Sample {
            location_id,
            value: values(goroutine, 0, 0, count),
            label: vec![builder.number_label("pid", pid.into())],
        });
    }

    let (started_at, duration_ns, estimated) = match report {
        Report::Capture(capture) => (
            &capture.started_at,
            capture.duration_ns,
            stacks.iter().any(|stack| stack.going_on),
        ),
        Report::Snapshot(snapshot) => (&snapshot.taken_at, snapshot.duration_ns, false),
    };
    let comment = if estimated {
        vec![builder.string(UPPER_BOUND)]
    } else {
        Vec::new()
    };
    Profile {
        sample_type: [contentions, delay].into_iter().chain(goroutine).collect(),
        sample: samples,
        time_nanos: crate::proc::time::parse_unix_ns(started_at).map_or(0, signed),
        duration_nanos: signed(duration_ns),
        period_type: Some(contentions),
        period: 1,
        comment,
        default_sample_type: match (report, goroutine) {
            (Report::Snapshot(_), Some(goroutine)) => goroutine.r#type,
            _ => delay.r#type,
        },
        ..builder.finish()
    }
}

/// Values of a sample: as many as there are types.
fn values(goroutine: Option<ValueType>, contentions: u64, ns: u64, goroutines: u64) -> Vec<i64> {
    let mut values = vec![signed(contentions), signed(ns)];
    values.extend(goroutine.map(|_| signed(goroutines)));
    values
}

/// Goroutines by process and stack, as Go's own profile counts them.
fn goroutines(processes: &[GoProcess]) -> Vec<((u32, &[Frame]), u64)> {
    let mut order = Vec::new();
    let mut counts: HashMap<(u32, &[Frame]), u64> = HashMap::new();
    for process in processes {
        for group in &process.groups {
            let key = (process.pid, group.frames.as_slice());
            let count = counts.entry(key).or_insert_with(|| {
                order.push(key);
                0
            });
            *count += group.count;
        }
    }
    order
        .into_iter()
        .map(|key| (key, counts.get(&key).copied().unwrap_or(0)))
        .collect()
}

#[cfg(test)]
mod tests;
