use std::{collections::BTreeSet, io::Read as _};

use flate2::read::GzDecoder;
use prost::Message as _;

use super::{proto::Profile, *};
use crate::sink::fixture;

fn decode(report: &Report) -> Profile {
    let mut bytes = Vec::new();
    GzDecoder::new(render(report).unwrap().as_slice())
        .read_to_end(&mut bytes)
        .unwrap();
    Profile::decode(bytes.as_slice()).unwrap()
}

fn totals(profile: &Profile) -> (i64, i64) {
    let column = |index: usize| {
        profile
            .sample
            .iter()
            .map(|sample| sample.value[index])
            .sum()
    };
    (column(0), column(1))
}

fn text(profile: &Profile, index: i64) -> &str {
    &profile.string_table[usize::try_from(index).unwrap()]
}

fn label<'a>(profile: &'a Profile, sample: &Sample, key: &str) -> &'a str {
    let label = sample
        .label
        .iter()
        .find(|label| text(profile, label.key) == key);
    text(profile, label.unwrap().str)
}

#[test]
fn totals_of_a_capture_are_those_of_its_locks() {
    let capture = fixture::capture();
    let mut expected = (0, 0);
    for lock in &capture.locks {
        expected.0 += lock.waits + lock.waiters;
        expected.1 += lock.wait_ns.total + lock.waiters * fixture::age_in_capture(lock);
    }
    let profile = decode(&Report::Capture(capture));
    assert_eq!(totals(&profile), (signed(expected.0), signed(expected.1)));
    assert_eq!(profile.duration_nanos, 10_000_000_000);
    // 2026-11-21T12:00:00Z
    assert_eq!(profile.time_nanos, 1_795_262_400_000_000_000);
    assert_eq!(text(&profile, profile.comment[0]), UPPER_BOUND);
}

#[test]
fn totals_of_a_snapshot_are_waiters_and_their_ages() {
    let snapshot = fixture::snapshot();
    let waiting = || {
        snapshot
            .threads
            .iter()
            .filter(|thread| thread.lock.is_some())
    };
    let ages: u64 = waiting().filter_map(|thread| thread.since_ns).sum();
    let waiters = waiting().count() as u64;
    let profile = decode(&Report::Snapshot(snapshot.clone()));
    assert_eq!(totals(&profile), (signed(waiters), signed(ages)));
    assert!(profile.comment.is_empty());
}

#[test]
fn header_is_that_of_a_contention_profile() {
    let profile = decode(&Report::Capture(fixture::capture()));
    let types: Vec<_> = profile
        .sample_type
        .iter()
        .map(|ty| (text(&profile, ty.r#type), text(&profile, ty.unit)))
        .collect();
    assert_eq!(types, [("contentions", "count"), ("delay", "nanoseconds")]);
    assert_eq!(text(&profile, profile.default_sample_type), "delay");
    assert_eq!(profile.string_table[0], "");
    let unique: BTreeSet<_> = profile.string_table.iter().collect();
    assert_eq!(unique.len(), profile.string_table.len());
}

#[test]
fn every_reference_resolves() {
    let profile = decode(&Report::Capture(fixture::capture()));
    let ids = |ids: Vec<u64>| {
        assert!(ids.iter().copied().eq(1..=ids.len() as u64));
        ids.len() as u64
    };
    let mappings = ids(profile.mapping.iter().map(|mapping| mapping.id).collect());
    let functions = ids(profile
        .function
        .iter()
        .map(|function| function.id)
        .collect());
    let locations = ids(profile
        .location
        .iter()
        .map(|location| location.id)
        .collect());
    for location in &profile.location {
        assert!(location.mapping_id <= mappings);
        if location.mapping_id > 0 {
            let mapping = profile.mapping[usize::try_from(location.mapping_id - 1).unwrap()];
            assert!(location.address < mapping.memory_limit);
        }
        for line in &location.line {
            assert!((1..=functions).contains(&line.function_id));
        }
    }
    for sample in &profile.sample {
        assert!(!sample.location_id.is_empty());
        assert!(
            sample
                .location_id
                .iter()
                .all(|id| (1..=locations).contains(id))
        );
    }
}

#[test]
fn inlined_functions_share_the_location_of_their_caller() {
    let profile = decode(&Report::Capture(fixture::capture()));
    let names = |location: &proto::Location| -> Vec<String> {
        location
            .line
            .iter()
            .map(|line| {
                let function = profile.function[usize::try_from(line.function_id - 1).unwrap()];
                text(&profile, function.name).to_owned()
            })
            .collect()
    };
    let inlined: Vec<_> = profile
        .location
        .iter()
        .filter(|l| l.line.len() > 1)
        .map(names)
        .collect();
    assert_eq!(inlined, [["lock_pool", "refresh_config"]]);
}

#[test]
fn samples_carry_lock_kind_and_state() {
    let profile = decode(&Report::Capture(fixture::capture()));
    let first = &profile.sample[0];
    assert_eq!(label(&profile, first, "lock"), "5f3a9c01+0x4040");
    assert_eq!(label(&profile, first, "name"), "pool_lock");
    assert_eq!(label(&profile, first, "kind"), "mutex");
    assert_eq!(label(&profile, first, "comm"), "confd");
    let states: BTreeSet<_> = profile
        .sample
        .iter()
        .map(|sample| label(&profile, sample, "state"))
        .collect();
    assert_eq!(states, BTreeSet::from(["finished", "waiting"]));
}

#[test]
fn counts_beyond_what_pprof_can_hold_are_capped() {
    let mut capture = fixture::capture();
    capture.locks.truncate(1);
    capture.locks[0].oldest_wait_ns = Some(u64::MAX);
    capture.duration_ns = u64::MAX;
    let profile = decode(&Report::Capture(capture));
    assert!(
        profile
            .sample
            .iter()
            .any(|sample| sample.value[1] == i64::MAX)
    );
}
