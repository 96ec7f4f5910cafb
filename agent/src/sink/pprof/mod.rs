//! Gzipped `profile.proto`: sample types `contentions/count` and `delay/nanoseconds`, as in Go's own mutex profiles, so
//! that `go tool pprof` and everything that reads pprof shows waits of any language.
//!
//! Labels of a sample: `lock` (the stable id), `name`, `kind`, `comm`, `state` (`finished` or `waiting`) and `pid`.
//! Addresses are ELF addresses of their module. Build ids are absent: the model does not carry them.

pub mod builder;
pub mod proto;

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use prost::Message as _;

use self::{
    builder::{Builder, signed},
    proto::{Profile, Sample, ValueType},
};
use super::{Error, Report, name, stacks};

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
            value: vec![signed(stack.count), signed(stack.ns)],
            label,
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
        sample_type: vec![contentions, delay],
        sample: samples,
        time_nanos: crate::proc::time::parse_unix_ns(started_at).map_or(0, signed),
        duration_nanos: signed(duration_ns),
        period_type: Some(contentions),
        period: 1,
        comment,
        default_sample_type: delay.r#type,
        ..builder.finish()
    }
}

#[cfg(test)]
mod tests;
