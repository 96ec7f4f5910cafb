//! What the BPF programs cost. The kernel measures them only when asked to, and that costs some 20 ns a run: it is asked for
//! a moment now and then, and what happened between is taken to be like what was measured.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use super::settings::Settings;
use crate::model::health::Program;

/// Who has the programs.
pub trait Programs {
    /// Has the kernel measure, or not.
    ///
    /// # Errors
    /// It refuses (before Linux 5.8, or without `CAP_SYS_ADMIN`).
    fn measure(&mut self, on: bool) -> io::Result<()>;

    /// The programs with their counters; empty when nothing is attached.
    fn counters(&self) -> Vec<Program>;
}

/// Opens and closes the windows in which the kernel measures.
#[derive(Debug)]
pub enum Sampler {
    /// It does not measure before that.
    Closed(Instant),
    /// It has measured since then, from these counters on.
    Open(Instant, Vec<Program>),
}

impl Sampler {
    /// The first window is due at once.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self::Closed(now)
    }

    /// Does what is due at `now`. Returns whether a window was opened or closed.
    pub fn step(
        &mut self,
        now: Instant,
        settings: &Settings,
        programs: &mut dyn Programs,
        estimate: &mut Estimate,
    ) -> bool {
        match self {
            Self::Closed(until) if now >= *until => {
                let is_measuring = programs.measure(true).is_ok();
                let before = programs.counters();
                if is_measuring && !before.is_empty() {
                    *self = Self::Open(now, before);
                } else {
                    let _ = programs.measure(false);
                    estimate.forget_share();
                    *self = Self::Closed(now + settings.bpf_every);
                }
            }
            Self::Open(began, before) if now >= *began + settings.bpf_for => {
                let after = programs.counters();
                // Shorter windows cost less; that it cannot be ended is told by what the programs then cost.
                let _ = programs.measure(false);
                if after.is_empty() {
                    estimate.forget_share();
                } else {
                    estimate.window(before, &after, now, now - *began);
                }
                *self = Self::Closed(*began + settings.bpf_every);
            }
            _ => return false,
        }
        true
    }
}

/// Totals by program, estimated from windows in which the kernel measured.
#[derive(Clone, Debug, Default)]
pub struct Estimate {
    totals: BTreeMap<String, Total>,
    share: Option<f64>,
    last_end: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Total {
    runs: f64,
    run_ns: f64,
}

impl Estimate {
    /// Takes in a window that ended at `end` after `length`, by the programs' counters before and after it.
    pub fn window(
        &mut self,
        before: &[Program],
        after: &[Program],
        end: Instant,
        length: Duration,
    ) {
        // What was not measured since the last window counts like this one.
        let stands_for = self.last_end.map_or(length, |last| {
            end.saturating_duration_since(last).max(length)
        });
        let scale = stands_for.as_secs_f64() / length.as_secs_f64();
        let mut run_ns = None;
        for program in after {
            let first = before.iter().find(|other| other.name == program.name);
            let delta = |get: fn(&Program) -> Option<u64>| {
                let first = first.and_then(get).unwrap_or(0);
                #[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
                get(program).map(|last| last.saturating_sub(first) as f64)
            };
            let (Some(runs), Some(ns)) = (delta(|p| p.runs), delta(|p| p.run_ns)) else {
                continue;
            };
            *run_ns.get_or_insert(0.0) += ns;
            let total = self.totals.entry(program.name.clone()).or_default();
            total.runs += runs * scale;
            total.run_ns += ns * scale;
        }
        #[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
        let length_ns = length.as_nanos() as f64;
        self.share = run_ns.map(|run_ns: f64| run_ns / length_ns);
        self.last_end = Some(end);
    }

    /// Nothing is attached any more.
    pub fn forget_share(&mut self) {
        self.share = None;
        self.last_end = None;
    }

    /// Share of one CPU in the last window; `None` before the first one, and when the kernel does not count.
    #[must_use]
    pub const fn share(&self) -> Option<f64> {
        self.share
    }

    /// These programs with their estimated totals, which only grow.
    #[must_use]
    pub fn of(&self, programs: &[Program]) -> Vec<Program> {
        let known = |program: &Program| {
            let total = self.totals.get(&program.name);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "sums of positive numbers; nanoseconds of centuries fit"
            )]
            let whole = |number: f64| number as u64;
            Program {
                name: program.name.clone(),
                runs: total.map(|total| whole(total.runs)),
                run_ns: total.map(|total| whole(total.run_ns)),
            }
        };
        programs.iter().map(known).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(runs: u64, run_ns: u64) -> Program {
        Program {
            name: "wait".into(),
            runs: Some(runs),
            run_ns: Some(run_ns),
        }
    }

    #[test]
    fn windows_stand_for_the_time_between_them() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut estimate = Estimate::default();
        assert_eq!(estimate.share(), None);
        estimate.window(&[program(0, 0)], &[program(10, 1000)], start, second);
        assert_eq!(estimate.of(&[program(0, 0)]), [program(10, 1000)]);
        assert_eq!(estimate.share(), Some(1e-6));
        // 30 s later, a second with 2 runs stands for 30 of them.
        let end = start + 30 * second;
        estimate.window(&[program(10, 1000)], &[program(12, 1400)], end, second);
        assert_eq!(estimate.of(&[program(0, 0)]), [program(70, 13_000)]);
        assert_eq!(estimate.share(), Some(4e-7));
        // After it was detached and attached again its counters start at 0: totals do not go back.
        estimate.forget_share();
        estimate.window(&[], &[program(1, 100)], end + 60 * second, second);
        assert_eq!(estimate.of(&[program(0, 0)]), [program(71, 13_100)]);
    }

    #[test]
    fn a_kernel_that_does_not_count_is_not_taken_for_one_that_counts_nothing() {
        let mut estimate = Estimate::default();
        let blind = Program {
            name: "wait".into(),
            ..Program::default()
        };
        let blind = std::slice::from_ref(&blind);
        estimate.window(blind, blind, Instant::now(), Duration::from_secs(1));
        assert_eq!(estimate.of(blind), blind);
        assert_eq!(estimate.share(), None);
    }

    /// A kernel that measures 10 runs of 1 us for each look while it is asked to.
    #[derive(Default)]
    struct Kernel {
        is_on: bool,
        looks: std::cell::Cell<u64>,
        has_programs: bool,
    }

    impl Programs for Kernel {
        fn measure(&mut self, on: bool) -> io::Result<()> {
            self.is_on = on;
            Ok(())
        }

        fn counters(&self) -> Vec<Program> {
            self.looks.set(self.looks.get() + u64::from(self.is_on));
            let looks = self.looks.get();
            let one = program(looks * 10, looks * 10_000);
            self.has_programs.then_some(one).into_iter().collect()
        }
    }

    #[test]
    fn the_kernel_measures_for_a_moment_now_and_then() {
        let settings = Settings::default();
        let (mut estimate, mut kernel) = (Estimate::default(), Kernel::default());
        kernel.has_programs = true;
        let start = Instant::now();
        let mut sampler = Sampler::new(start);
        let mut measured_seconds = 0;
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            sampler.step(now, &settings, &mut kernel, &mut estimate);
            measured_seconds += u64::from(kernel.is_on);
        }
        assert_eq!(measured_seconds, 2);
        assert_eq!(estimate.share(), Some(1e-5));
        // One second of 10 runs, then one that stands for 30.
        assert_eq!(estimate.of(&[program(0, 0)]), [program(310, 310_000)]);
        // Detached: there is nothing to measure, and no share.
        kernel.has_programs = false;
        for second in 60..120 {
            let now = start + Duration::from_secs(second);
            sampler.step(now, &settings, &mut kernel, &mut estimate);
        }
        assert!(!kernel.is_on, "whose programs would be measured?");
        assert_eq!(estimate.share(), None);
        assert_eq!(estimate.of(&[program(0, 0)]), [program(310, 310_000)]);
    }
}
