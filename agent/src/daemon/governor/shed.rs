//! What is given up when the agent costs too much, and when it is taken up again. Nothing here measures anything.

use super::settings::Settings;
use crate::model::health::Level;

/// In the order in which it is given up. [`Level::Off`] is for people only.
const ORDER: [Level; 5] = [
    Level::Full,
    Level::NoStacks,
    Level::NoSamples,
    Level::NoDetail,
    Level::Census,
];
/// What is taken up again must stay below this part of the budget, or it would be given up at once.
const CALM: f64 = 0.5;
/// Times that the wait for calm doubles, when what was taken up had to be given up again.
const MAX_DOUBLINGS: u32 = 5;

/// What was measured over one period.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// Share of one CPU, the agent's own threads.
    pub cpu_share: f64,
    /// Share of all CPUs, its BPF programs; `None` when the kernel does not tell.
    pub bpf_share: Option<f64>,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
}

/// Decides.
#[derive(Clone, Debug)]
pub struct Shedder {
    /// Index in [`ORDER`] below which it never goes: what it was told to begin with.
    floor: usize,
    index: usize,
    over: u32,
    calm: u32,
    doublings: u32,
    /// The last change was to more.
    has_returned: bool,
    why: Option<String>,
}

impl Shedder {
    /// Begins with `level`, and never does more than `most`.
    #[must_use]
    pub fn new(most: Level, level: Level) -> Self {
        let index = |level| {
            let found = ORDER.iter().position(|&other| other == level);
            found.unwrap_or(ORDER.len() - 1)
        };
        let floor = index(most);
        Self {
            floor,
            index: index(level).max(floor),
            over: 0,
            calm: 0,
            doublings: 0,
            has_returned: false,
            why: None,
        }
    }

    /// What is still done.
    #[must_use]
    pub fn level(&self) -> Level {
        ORDER[self.index]
    }

    /// Why it is not everything that was asked for.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// Takes in one period. Returns whether the level has changed.
    pub fn step(&mut self, measured: &Measured, settings: &Settings) -> bool {
        let worst = worst(measured, settings);
        self.over = if worst.used > 1.0 { self.over + 1 } else { 0 };
        self.calm = if worst.used < CALM { self.calm + 1 } else { 0 };
        if self.over >= settings.over_for && self.index + 1 < ORDER.len() {
            if self.has_returned {
                self.doublings = (self.doublings + 1).min(MAX_DOUBLINGS);
            }
            self.turn_to(self.index + 1);
            self.has_returned = false;
            self.why = Some(worst.text);
            return true;
        }
        let patience = settings.calm_for.saturating_mul(1 << self.doublings);
        if self.calm >= patience && self.index > self.floor {
            self.turn_to(self.index - 1);
            self.has_returned = true;
            if self.index == self.floor {
                self.why = None;
            }
            return true;
        }
        false
    }

    fn turn_to(&mut self, index: usize) {
        self.index = index;
        self.over = 0;
        self.calm = 0;
    }
}

/// The cost that is nearest to, or furthest over, its budget.
struct Worst {
    /// 1 is all of the budget.
    used: f64,
    text: String,
}

fn worst(measured: &Measured, settings: &Settings) -> Worst {
    #[expect(clippy::cast_precision_loss, reason = "bytes are far below 2^52")]
    let [resident, allowed] = [measured.resident_bytes, settings.resident_bytes].map(|n| n as f64);
    let bpf = measured.bpf_share.unwrap_or(0.0);
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    let mib = |bytes: f64| format!("{:.0} MiB", bytes / f64::from(1 << 20));
    let costs = [
        (
            measured.cpu_share,
            settings.cpu_share,
            "of a CPU for the agent itself",
            &percent as &dyn Fn(f64) -> String,
        ),
        (
            bpf,
            settings.bpf_share,
            "of all CPUs for its BPF programs",
            &percent,
        ),
        (resident, allowed, "of resident memory", &mib),
    ];
    let mut worst = Worst {
        used: 0.0,
        text: String::new(),
    };
    for (is, may, what, show) in costs {
        let used = is / may;
        // A budget of nothing is refused by the settings' check; memory's may be 0.
        if used > worst.used {
            let text = format!("{} {what}, the budget is {}", show(is), show(may));
            worst = Worst { used, text };
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            cpu_share: 0.1,
            over_for: 2,
            calm_for: 3,
            ..Settings::default()
        }
    }

    fn cpu(share: f64) -> Measured {
        Measured {
            cpu_share: share,
            ..Measured::default()
        }
    }

    /// Levels after each of `count` equal periods.
    fn levels(shedder: &mut Shedder, measured: &Measured, count: usize) -> Vec<Level> {
        let step = |_| {
            shedder.step(measured, &settings());
            shedder.level()
        };
        (0..count).map(step).collect()
    }

    #[test]
    fn gives_up_in_order_and_stops_at_the_census() {
        use Level::{Census, Full, NoDetail, NoSamples, NoStacks};
        let mut shedder = Shedder::new(Full, Full);
        assert_eq!(
            levels(&mut shedder, &cpu(0.11), 10),
            [
                Full, NoStacks, NoStacks, NoSamples, NoSamples, NoDetail, NoDetail, Census, Census,
                Census
            ]
        );
        assert_eq!(
            shedder.why(),
            Some("11.00 % of a CPU for the agent itself, the budget is 10.00 %")
        );
        // Back, one at a time; between half and all of the budget nothing changes.
        assert_eq!(levels(&mut shedder, &cpu(0.07), 20), [Census; 20]);
        assert_eq!(
            levels(&mut shedder, &cpu(0.01), 12),
            [
                Census, Census, NoDetail, NoDetail, NoDetail, NoSamples, NoSamples, NoSamples,
                NoStacks, NoStacks, NoStacks, Full
            ]
        );
        assert_eq!(shedder.why(), None);
    }

    #[test]
    fn one_peak_is_nothing() {
        let mut shedder = Shedder::new(Level::Full, Level::Full);
        for _ in 0..10 {
            levels(&mut shedder, &cpu(5.0), 1);
            levels(&mut shedder, &cpu(0.05), 1);
        }
        assert_eq!(shedder.level(), Level::Full);
    }

    #[test]
    fn what_does_not_pay_is_tried_less_and_less_often() {
        let mut shedder = Shedder::new(Level::Full, Level::Full);
        let mut waits = Vec::new();
        for _ in 0..7 {
            levels(&mut shedder, &cpu(1.0), 2);
            assert_eq!(shedder.level(), Level::NoStacks);
            let mut periods = 0;
            while shedder.level() != Level::Full {
                shedder.step(&cpu(0.0), &settings());
                periods += 1;
            }
            waits.push(periods);
        }
        assert_eq!(waits, [3, 6, 12, 24, 48, 96, 96]);
    }

    #[test]
    fn does_no_more_than_it_was_told() {
        let mut shedder = Shedder::new(Level::Census, Level::Full);
        levels(&mut shedder, &cpu(0.0), 100);
        assert_eq!((shedder.level(), shedder.why()), (Level::Census, None));
        levels(&mut shedder, &cpu(1.0), 100);
        assert_eq!((shedder.level(), shedder.why()), (Level::Census, None));
    }

    #[test]
    fn each_budget_counts() {
        for (measured, word) in [
            (
                Measured {
                    bpf_share: Some(0.02),
                    ..cpu(0.01)
                },
                "2.00 % of all CPUs for its BPF programs, the budget is 1.00 %",
            ),
            (
                Measured {
                    resident_bytes: 300 << 20,
                    ..cpu(0.01)
                },
                "300 MiB of resident memory, the budget is 256 MiB",
            ),
        ] {
            let mut shedder = Shedder::new(Level::Full, Level::Full);
            levels(&mut shedder, &measured, 2);
            assert_eq!(shedder.level(), Level::NoStacks);
            assert_eq!(shedder.why(), Some(word));
        }
    }
}
