//! Holds in words, for people.

use std::collections::BTreeMap;

use crate::{
    model::{
        Kind,
        hold::{HoldSite, Holds, Runqueue},
    },
    runtime::application_frames,
    sink::{name, text, units},
};

/// Call paths that are named.
const SITES: usize = 2;
/// Columns of a function's name.
const FUNCTION: usize = 40;
/// A share of the scheduler below this, in percent, is not worth a line.
const NOTABLE_PERCENT: u64 = 10;

/// How long those held it who had to wait for it; `None` when none was measured: `312 measured, mean 1.20 ms, longest 41.0 ms; the holder was asleep in 83% of that time`.
#[must_use]
pub fn summary(holds: &Holds) -> Option<String> {
    let mean = holds.total_ns.checked_div(holds.measured)?;
    let asleep = match holds.slept {
        0 => "at work".to_owned(),
        slept if slept == holds.measured => "asleep meanwhile".to_owned(),
        _ => {
            let share = units::percent(holds.slept_ns, holds.total_ns.max(1));
            format!("asleep in {share} of that time")
        }
    };
    Some(format!(
        "{} measured, mean {}, longest {}; the holder was {asleep}",
        units::count(holds.measured),
        units::duration(mean),
        units::duration(holds.max_ns)
    ))
}

/// What to call those who let go: of a word that may be no lock all that is known is that they wake its waiters.
#[must_use]
pub fn kept_by(kind: Kind) -> &'static str {
    if kind.is_lock() {
        "kept by"
    } else {
        "woken by"
    }
}

/// Who keeps others waiting, by shares; `None` when no stack is known.
#[must_use]
pub fn sites(holds: &Holds) -> Option<String> {
    let all_ns: u64 = holds.sites.iter().map(|site| site.charged_ns).sum();
    // Different callers of the same place are one to a reader.
    let mut places: BTreeMap<String, HoldSite> = BTreeMap::new();
    for site in &holds.sites {
        if let Some(place) = place(site) {
            let sum = places.entry(place).or_default();
            sum.samples = sum.samples.saturating_add(site.samples);
            sum.samples_off_cpu = sum.samples_off_cpu.saturating_add(site.samples_off_cpu);
            sum.charged_ns = sum.charged_ns.saturating_add(site.charged_ns);
        }
    }
    let mut places: Vec<(String, HoldSite)> = places.into_iter().collect();
    places.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.charged_ns));
    let named: Vec<String> = places
        .iter()
        .take(SITES)
        .map(|(place, sum)| {
            let share = units::percent(sum.charged_ns, all_ns);
            let off_cpu = match sum.samples_off_cpu {
                0 => "",
                off_cpu if off_cpu == sum.samples => " (off CPU)",
                _ => " (off CPU at times)",
            };
            format!("{share} {place}{off_cpu}")
        })
        .collect();
    (!named.is_empty()).then(|| named.join(", "))
}

fn place(site: &HoldSite) -> Option<String> {
    let frame = application_frames(&site.frames).first()?;
    let function = text::shorten_function(&name::function(frame), FUNCTION);
    let location = name::location(frame);
    Some(if location.is_empty() {
        function
    } else {
        format!("{function} {location}")
    })
}

/// What of the waiting was spent ready to run; `None` when that is little.
#[must_use]
pub fn scheduler(runqueue: &Runqueue) -> Option<String> {
    let &Runqueue {
        waits: _,
        wait_ns,
        ready_ns,
    } = runqueue;
    let notable = ready_ns.saturating_mul(100) >= wait_ns.saturating_mul(NOTABLE_PERCENT);
    (notable && wait_ns > 0).then(|| {
        format!(
            "{} of the waiting was for a CPU, after the wake",
            units::percent(ready_ns, wait_ns)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::fixture;

    fn holds(slept: u64) -> Holds {
        let site = |function, charged_ns| HoldSite {
            samples: 2,
            samples_off_cpu: slept.min(2),
            charged_ns,
            frames: vec![fixture::frame(function, "a.c", 7)],
        };
        Holds {
            measured: 4,
            total_ns: 4_000_000,
            max_ns: 2_500_000,
            slept,
            slept_ns: slept * 1_000_000,
            histogram: Vec::new(),
            sites: vec![
                site("refresh", 2_000_000),
                site("reload", 1_000_000),
                site("refresh", 1_000_000),
            ],
        }
    }

    #[test]
    fn a_holder_at_work_is_told_from_one_asleep() {
        let text = summary(&holds(0)).expect("some");
        assert!(text.ends_with("the holder was at work"), "{text}");
        let text = summary(&holds(4)).expect("some");
        assert!(text.ends_with("the holder was asleep meanwhile"), "{text}");
        assert_eq!(
            summary(&holds(3)).as_deref(),
            Some(
                "4 measured, mean 1.00 ms, longest 2.50 ms; the holder was asleep in 75% of that time"
            )
        );
        assert_eq!(
            sites(&holds(0)).as_deref(),
            Some("75% refresh a.c:7, 25% reload a.c:7")
        );
        assert_eq!(
            sites(&holds(4)).as_deref(),
            Some("75% refresh a.c:7 (off CPU), 25% reload a.c:7 (off CPU)")
        );
        assert_eq!(sites(&Holds::default()), None);
    }

    #[test]
    fn a_scheduler_without_blame_is_not_mentioned() {
        let runqueue = |ready_ns| Runqueue {
            waits: 2,
            wait_ns: 1000,
            ready_ns,
        };
        assert_eq!(scheduler(&runqueue(99)), None);
        assert_eq!(
            scheduler(&runqueue(420)).as_deref(),
            Some("42% of the waiting was for a CPU, after the wake")
        );
        assert_eq!(scheduler(&Runqueue::default()), None);
    }
}
