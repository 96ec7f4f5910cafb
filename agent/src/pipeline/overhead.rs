//! What uprobes cost the target: measured before they are attached, watched while they are, and too much is too much.

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use aya::sys::{Stats, enable_stats};
use holdup_abi::uprobe::PRICES;

use crate::{
    ingest::plane::Plane,
    model::{
        entry::Price,
        plan::{PlanEntry, Status},
    },
    probe::uprobe::{
        Uprobes,
        governor::Governor,
        price::{self, Prices},
    },
    proc::cpu,
};

/// How long hits are only counted, to tell what they will cost.
const DRY: Duration = Duration::from_millis(200);
/// How long at most, when somebody was hit but hardly got a processor by then.
const LONGEST_DRY: Duration = Duration::from_secs(1);
/// CPU time of the target that tells enough.
const ENOUGH: Duration = Duration::from_millis(20);
/// Name of the plan's row.
const ROW: &str = "cost of uprobes";

/// Tells the user something at once.
pub type Tell = fn(&str);

/// Prices, and what was spent so far.
#[derive(Debug)]
pub struct Overhead {
    prices: Prices,
    governor: Governor,
    max_percent: u32,
    tell: Tell,
    began: Instant,
    /// Hits that do not count: of the measurement and of the dry count.
    before: [u64; PRICES as usize],
    hits: [u64; PRICES as usize],
    /// The same of the time that the programs ran, in nanoseconds.
    run_ns_before: u64,
    run_ns: u64,
    /// Keeps the kernel measuring it. Without, what a program does beyond counting is not in the price.
    measuring: Option<OwnedFd>,
    /// CPU time by process, when it was first and last seen.
    cpu: BTreeMap<u32, (Duration, Duration)>,
    taken_away: bool,
}

impl Overhead {
    /// Measures what a hit costs here and tells it. From now on probes only count, until [`Self::release`]. When there is no
    /// price, the reason is in the plan, and nobody watches what the probes cost.
    pub fn start(plane: &mut Plane, max_percent: u32, tell: Tell) -> Option<Self> {
        let (uprobes, ebpf) = plane.uprobes()?;
        let prices = match price::measure(ebpf, uprobes) {
            Ok(prices) => prices,
            Err(error) => {
                plane.add_to_plan(row(Status::Unavailable, format!("not known: {error}")));
                return None;
            }
        };
        uprobes.stage();
        tell(&format!(
            "a hit of a uprobe costs {prices} on this machine ({})",
            prices.way
        ));
        let now = Instant::now();
        Some(Self {
            prices,
            governor: Governor::new(max_percent, now),
            max_percent,
            tell,
            began: now,
            before: [0; PRICES as usize],
            hits: [0; PRICES as usize],
            run_ns_before: 0,
            run_ns: 0,
            measuring: None,
            cpu: BTreeMap::new(),
            taken_away: false,
        })
    }

    /// Counts for a moment what will be hit, tells what that will cost, and attaches the probes in earnest.
    pub fn release(&mut self, plane: &mut Plane) {
        if plane
            .uprobes()
            .is_some_and(|(uprobes, _)| uprobes.is_staged())
        {
            self.forecast(plane);
        }
        if let Some((uprobes, ebpf)) = plane.uprobes()
            && let Err(error) = uprobes.release(ebpf)
        {
            plane.add_to_plan(row(Status::Unavailable, error.to_string()));
        }
        self.measuring = enable_stats(Stats::RunTime).ok();
        self.before = plane.hits().unwrap_or_default();
        self.run_ns_before = run_ns(plane);
        self.began = Instant::now();
        self.governor = Governor::new(self.max_percent, self.began);
        self.cpu.clear();
        self.look_at_processors(plane);
    }

    fn forecast(&mut self, plane: &mut Plane) {
        let start = Instant::now();
        self.before = plane.hits().unwrap_or_default();
        let processors = self.look_at_processors(plane);
        loop {
            thread::sleep(DRY);
            self.count(plane);
            self.look_at_processors(plane);
            let is_starved = self.hits != [0; PRICES as usize] && self.cpu_time() < ENOUGH;
            if !is_starved || start.elapsed() >= LONGEST_DRY {
                break;
            }
        }
        let forecast = Forecast {
            hits: self.hits.iter().sum(),
            spent_ns: self.prices.total_ns(&self.hits),
            cpu_ns: self.cpu_time().as_nanos() as f64,
            elapsed: start.elapsed(),
        };
        (self.tell)(&forecast.text(processors, self.max_percent));
    }

    /// Adds up what was spent; takes all probes away when it is too much.
    pub fn look(&mut self, plane: &mut Plane) {
        if self.taken_away {
            return;
        }
        self.count(plane);
        self.run_ns = run_ns(plane).saturating_sub(self.run_ns_before);
        let processors = self.look_at_processors(plane);
        let spent_ns = self.spent_ns();
        let now = Instant::now();
        let Some(share) = self.governor.look(now, spent_ns, processors) else {
            return;
        };
        self.taken_away = true;
        self.measuring = None;
        if let Some((uprobes, _)) = plane.uprobes() {
            uprobes.take_away();
        }
        let text = format!(
            "taken away after {:.1} s: {:.0} % of the target's processors went into them for a second, and \
             --max-overhead is {}",
            now.saturating_duration_since(self.began).as_secs_f64(),
            share * 100.0,
            self.max_percent
        );
        (self.tell)(&format!("uprobes were {text}"));
        plane.add_to_plan(row(Status::Skipped, text));
    }

    fn count(&mut self, plane: &Plane) {
        let now = plane.hits().unwrap_or(self.before);
        for ((hits, now), before) in self.hits.iter_mut().zip(now).zip(self.before) {
            *hits = now.saturating_sub(before);
        }
    }

    /// Notes the CPU time of everybody who is probed. Processors that they can keep busy.
    fn look_at_processors(&mut self, plane: &mut Plane) -> usize {
        let Some((uprobes, _)) = plane.uprobes() else {
            return 1;
        };
        processors(uprobes, &mut self.cpu).min(cpu::machine())
    }

    fn cpu_time(&self) -> Duration {
        let times = self.cpu.values();
        times.map(|(first, last)| last.saturating_sub(*first)).sum()
    }

    /// Traps, and what the programs did in them.
    fn spent_ns(&self) -> f64 {
        self.prices.total_ns(&self.hits) + self.run_ns as f64
    }

    /// What it came to until now.
    #[must_use]
    pub fn spent(&self) -> Spent {
        let hits = self.hits.iter().sum();
        let spent_ns = self.spent_ns();
        let cpu_ns = self.cpu_time().as_nanos() as f64;
        Spent {
            hits,
            ns_per_hit: if hits == 0 {
                0.0
            } else {
                spent_ns / hits as f64
            },
            share: if cpu_ns == 0.0 {
                0.0
            } else {
                (spent_ns / cpu_ns).min(1.0)
            },
            taken_away: self.taken_away,
        }
    }

    /// Puts that into the plan.
    pub fn tell_plan(&self, plane: &mut Plane) {
        plane.add_to_plan(row(Status::Attached, self.spent().to_string()));
    }
}

fn run_ns(plane: &mut Plane) -> u64 {
    let uprobes = plane.uprobes();
    uprobes.map_or(0, |(uprobes, ebpf)| uprobes.run_ns(ebpf))
}

fn processors(uprobes: &Uprobes, times: &mut BTreeMap<u32, (Duration, Duration)>) -> usize {
    let mut sum = 0;
    for scope in uprobes.scopes() {
        let Some(pid) = *scope else {
            return usize::MAX;
        };
        if let (Some(time), Some(processors)) = (cpu::time(pid), cpu::processors(pid)) {
            times.entry(pid).or_insert((time, time)).1 = time;
            sum += processors;
        }
    }
    sum.max(1)
}

fn row(status: Status, reason: String) -> PlanEntry {
    PlanEntry {
        probe: ROW.into(),
        status,
        reason,
    }
}

/// What uprobes have cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spent {
    /// Hits.
    pub hits: u64,
    /// Nanoseconds per hit, on average.
    pub ns_per_hit: f64,
    /// Share of the target's CPU time.
    pub share: f64,
    /// They were too much.
    pub taken_away: bool,
}

impl std::fmt::Display for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            hits,
            ns_per_hit,
            share,
            taken_away,
        } = self;
        let (us, percent) = (ns_per_hit / 1000.0, share * 100.0);
        write!(
            f,
            "{hits} hits at {us:.2} us, {percent:.1} % of the target's CPU time"
        )?;
        if *taken_away {
            write!(f, ", taken away before the end")?;
        }
        Ok(())
    }
}

impl From<Spent> for Price {
    fn from(spent: Spent) -> Self {
        Self {
            ns_per_hit: spent.ns_per_hit as u64,
            hits: spent.hits,
            share_ppm: (spent.share * 1e6) as u64,
            detached_by_governor: spent.taken_away,
            text: spent.to_string(),
        }
    }
}

/// A moment of counting.
struct Forecast {
    hits: u64,
    spent_ns: f64,
    cpu_ns: f64,
    elapsed: Duration,
}

impl Forecast {
    fn text(&self, processors: usize, max_percent: u32) -> String {
        let Self {
            hits,
            spent_ns,
            cpu_ns,
            elapsed,
        } = self;
        let seconds = elapsed.as_secs_f64();
        let rate = *hits as f64 / seconds;
        let share = spent_ns / (elapsed.as_nanos() as f64 * processors.max(1) as f64) * 100.0;
        let mut text = format!(
            "counted for {seconds:.1} s: {rate:.0} hits/s, at least {share:.1} % of the target's processors"
        );
        // What the target does besides, at least a hundredth: the clock is no better.
        let own_ns = (cpu_ns - spent_ns).max(cpu_ns / 100.0);
        if own_ns > 0.0 {
            let slower = spent_ns / own_ns;
            text += &if slower < 1.0 {
                format!(", it will run {:.1} % slower", slower * 100.0)
            } else {
                format!(", it will take {:.0} times as long", 1.0 + slower)
            };
        }
        if share > f64::from(max_percent) && max_percent < 100 {
            text += &format!(
                "; more than --max-overhead {max_percent}: they will be taken away after a second"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forecasts() {
        let forecast = |hits, spent_ms: f64, cpu_ms: f64| {
            Forecast {
                hits,
                spent_ns: spent_ms * 1e6,
                cpu_ns: cpu_ms * 1e6,
                elapsed: DRY,
            }
            .text(2, 5)
        };
        assert_eq!(
            forecast(0, 0.0, 0.0),
            "counted for 0.2 s: 0 hits/s, at least 0.0 % of the target's processors"
        );
        assert_eq!(
            forecast(2000, 2.0, 102.0),
            "counted for 0.2 s: 10000 hits/s, at least 0.5 % of the target's processors, it will run 2.0 % slower"
        );
        assert_eq!(
            forecast(200_000, 180.0, 200.0),
            "counted for 0.2 s: 1000000 hits/s, at least 45.0 % of the target's processors, it will take 10 times as long; more than \
             --max-overhead 5: they will be taken away after a second"
        );
    }
}
