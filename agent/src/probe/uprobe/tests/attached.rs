//! What is attached, what is not, and what becomes of it, on our own process.

use std::hint::black_box;

use super::loaded;
use crate::{
    probe::uprobe::{
        AttachError, Site, Uprobes, Way, hits,
        price::{COUNT, COUNT_RETURN},
    },
    proc::maps::Maps,
};

/// Where the probes are; each test has its own, as all tests are one process.
macro_rules! target {
    ($name:ident) => {
        #[inline(never)]
        extern "C" fn $name(number: u64) -> u64 {
            black_box(number ^ stringify!($name).len() as u64)
        }
    };
}

fn site(function: extern "C" fn(u64) -> u64, returns: bool) -> Site {
    let address = function as usize as u64;
    let maps = Maps::read(std::process::id()).unwrap();
    let covers =
        |mapping: &&crate::proc::maps::Mapping| (mapping.start..mapping.end).contains(&address);
    let mapping = maps.0.iter().find(covers).unwrap();
    Site {
        file: "/proc/self/exe".into(),
        offset: address - mapping.start + mapping.file_offset,
        cookie: 0,
        returns,
        semaphore: 0,
    }
}

fn call(function: extern "C" fn(u64) -> u64, times: u64) {
    for number in 0..times {
        black_box(function)(number);
    }
}

fn own() -> Option<u32> {
    Some(std::process::id())
}

#[test]
fn a_place_that_is_refused_does_not_take_the_others_with_it() {
    target!(neighbour);
    let nowhere = Site {
        offset: u64::MAX >> 1,
        ..site(neighbour, false)
    };
    let mut ebpf = loaded();
    for (mut uprobes, way) in [
        (Uprobes::new(&ebpf), Way::Multi),
        (Uprobes::single_only(), Way::Single),
    ] {
        let before = hits(&ebpf).unwrap()[0];
        let sites = [nowhere.clone(), site(neighbour, false)];
        let links = uprobes.attach(&mut ebpf, COUNT, &sites, own()).unwrap();
        assert_eq!((links.way, links.attached), (way, 1));
        assert_eq!(links.refused.len(), 1);
        assert_eq!(links.refused[0].0, 0);
        call(neighbour, 100);
        assert_eq!(hits(&ebpf).unwrap()[0] - before, 100);
        let none = uprobes.attach(&mut ebpf, COUNT, &sites[..1], own());
        assert!(
            matches!(none, Err(AttachError::Refused { places: 1, .. })),
            "{none:?}"
        );
        let unknown = uprobes.attach(&mut ebpf, "no_such_program", &sites, own());
        assert!(
            matches!(unknown, Err(AttachError::Load { .. })),
            "{unknown:?}"
        );
    }
}

#[test]
fn what_is_let_go_or_taken_away_is_not_hit() {
    target!(short_lived);
    let mut ebpf = loaded();
    let mut uprobes = Uprobes::new(&ebpf);
    let sites = [site(short_lived, false)];
    let kept = uprobes.attach(&mut ebpf, COUNT, &sites, own()).unwrap();
    let dropped = uprobes.attach(&mut ebpf, COUNT, &sites, own()).unwrap();
    call(short_lived, 10);
    assert_eq!(hits(&ebpf).unwrap()[0], 20);
    drop(dropped);
    call(short_lived, 10);
    assert_eq!(hits(&ebpf).unwrap()[0], 30);
    uprobes.take_away();
    call(short_lived, 10);
    assert_eq!(hits(&ebpf).unwrap()[0], 30);
    assert_eq!(kept.descriptors(), 0);
    let late = uprobes.attach(&mut ebpf, COUNT, &sites, own());
    assert!(matches!(late, Err(AttachError::TakenAway)), "{late:?}");
    assert_eq!(
        uprobes.scopes().iter().copied().collect::<Vec<_>>(),
        [own()]
    );
}

/// The programs here are those that count anyway: what tells the two times apart is the price of an entry whose return is
/// probed too, which is counted only in earnest.
#[test]
fn what_is_staged_counts_and_is_attached_in_earnest_later() {
    target!(staged);
    let mut ebpf = loaded();
    let mut uprobes = Uprobes::new(&ebpf);
    uprobes.stage();
    assert!(!uprobes.is_staged());
    let unknown = uprobes.attach(&mut ebpf, "no_such_program", &[], own());
    assert!(
        matches!(unknown, Err(AttachError::Load { .. })),
        "{unknown:?}"
    );
    let _back = uprobes
        .attach(&mut ebpf, COUNT_RETURN, &[site(staged, true)], own())
        .unwrap();
    let _entry = uprobes
        .attach(&mut ebpf, COUNT, &[site(staged, false)], own())
        .unwrap();
    assert!(uprobes.is_staged());
    call(staged, 10);
    assert_eq!(hits(&ebpf).unwrap()[0], 10);
    uprobes.release(&mut ebpf).unwrap();
    assert!(!uprobes.is_staged());
    call(staged, 10);
    assert_eq!(hits(&ebpf).unwrap()[0], 30);
}
