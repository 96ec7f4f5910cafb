//! Too many goroutines to read every stack: how many wait for what is exact all the same.

use std::{collections::HashMap, sync::Arc};

use anyhow::{Result, ensure};
use holdup::runtime::go::{
    Census, Program,
    census::{Options, Target},
};
use holdup_tests::{
    Workload,
    go::{self, Variant},
};

use super::Parked;

const READERS: usize = 900;
const WRITERS: usize = 100;
const STACKS: usize = 40;

#[test]
fn totals_are_exact_when_stacks_are_sampled() -> Result<()> {
    for release in go::spread()? {
        let program = release.build("pileup", Variant::Stripped)?;
        let arguments = [READERS.to_string(), WRITERS.to_string()];
        let mut workload = Workload::start(&program, &arguments.each_ref().map(String::as_str))?;
        let parked: Parked = workload.go_to("parked")?;
        let options = Options {
            stacks: STACKS,
            ..Options::default()
        };
        let census = Census::take(Arc::new(Program::open(workload.pid())?), options)?;
        ensure!(
            (census.goroutines.len() as u64, census.torn) == (parked.goroutines, 0),
            "{} of {}, {} torn",
            census.goroutines.len(),
            parked.goroutines,
            census.torn
        );
        let with_stack = census
            .goroutines
            .iter()
            .filter(|goroutine| goroutine.stack.is_some())
            .count();
        let parked = census.goroutines.len() - usize::try_from(census.left_out)?;
        ensure!(
            (1..=STACKS).contains(&with_stack) && parked - with_stack <= 1,
            "{with_stack} stacks, {} left out",
            census.left_out
        );
        let mut waiters: HashMap<u64, usize> = HashMap::new();
        for goroutine in &census.goroutines {
            if let Target::Semaphore(semaphore) = goroutine.target {
                *waiters.entry(semaphore).or_default() += 1;
            }
        }
        ensure!(
            waiters.values().max() == Some(&READERS)
                && waiters.values().sum::<usize>() == READERS + WRITERS,
            "{waiters:?}"
        );
        workload.finish()?;
    }
    Ok(())
}
