//! The thresholds that hold for one lock or process.

use super::{
    rules::Rule,
    settings::{Deadlock, Growing, LongWait, Parked, SHORTEST, Settings, Stalled},
};

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Thresholds {
    pub count_unknown: bool,
    pub parked: Parked,
    pub stalled: Stalled,
    pub growing: Growing,
    pub long_wait: LongWait,
    pub deadlock: Deadlock,
}

impl Thresholds {
    /// Those that hold where no rule does.
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            count_unknown: settings.count_unknown,
            parked: settings.parked.clone(),
            stalled: settings.stalled.clone(),
            growing: settings.growing.clone(),
            long_wait: settings.long_wait.clone(),
            deadlock: settings.deadlock.clone(),
        }
    }

    /// Those with what a rule says.
    pub(super) fn with(&self, rule: &Rule) -> Self {
        Self {
            count_unknown: rule.count_unknown.unwrap_or(self.count_unknown),
            parked: rule.parked.clone().unwrap_or_default().over(&self.parked),
            stalled: rule.stalled.clone().unwrap_or_default().over(&self.stalled),
            growing: rule.growing.clone().unwrap_or_default().over(&self.growing),
            long_wait: rule
                .long_wait
                .clone()
                .unwrap_or_default()
                .over(&self.long_wait),
            deadlock: rule
                .deadlock
                .clone()
                .unwrap_or_default()
                .over(&self.deadlock),
        }
    }

    /// Whether they can be met at all.
    ///
    /// # Errors
    /// One sentence that begins with the key.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self {
            count_unknown: _,
            parked,
            stalled,
            growing,
            long_wait,
            deadlock: _,
        } = self;
        let counts = [
            ("parked.waiters", parked.waiters, 1),
            ("parked.process_waiters", parked.process_waiters, 1),
            ("stalled.waiters", stalled.waiters, 1),
            ("growing.waiters", growing.waiters, 2),
            ("growing.factor", growing.factor, 2),
        ];
        for (key, value, min) in counts {
            // More threads than any kernel has.
            if !(min..=1 << 22).contains(&value) {
                return Err(format!(
                    "{key} must be between {min} and 4194304, it is {value}"
                ));
            }
        }
        let times = [
            ("stalled.for", stalled.r#for),
            ("growing.window", growing.window),
            ("long_wait.for", long_wait.r#for),
        ];
        for (key, value) in times {
            if value < SHORTEST {
                return Err(format!(
                    "{key} must be at least {}, it is {}: every lock is held for a moment",
                    humantime::format_duration(SHORTEST),
                    humantime::format_duration(value)
                ));
            }
        }
        if growing.oldest > growing.window {
            return Err(format!(
                "growing.oldest ({}) must not be more than growing.window ({})",
                humantime::format_duration(growing.oldest),
                humantime::format_duration(growing.window)
            ));
        }
        Ok(())
    }
}
