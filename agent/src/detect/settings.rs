//! When something is held up, how long an incident lives, and how many alerts there may be.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rules::Rule;

/// Shortest time that means anything, given how often anybody looks.
pub(super) const SHORTEST: Duration = Duration::from_millis(100);

/// All of it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Waits whose kind is not known count as lock waits. Without evidence a wait is as likely an idle worker's as a
    /// lock's, so that only those with an owner written in memory count; for a program known to have none idle, a rule
    /// can count all.
    pub count_unknown: bool,
    /// Many threads wait.
    pub parked: Parked,
    /// Threads wait and nothing is handed on.
    pub stalled: Stalled,
    /// Waiters rise and rise.
    pub growing: Growing,
    /// One thread waits for very long.
    pub long_wait: LongWait,
    /// Owners wait for each other in a circle.
    pub deadlock: Deadlock,
    /// An incident goes on while its waiters or its wait are at least this share of what opened it, in percent: what
    /// hovers about a threshold must not open and resolve by turns.
    pub clear_percent: u8,
    /// An incident is over when it has not been true for this long: its lifetime. What is done about one (snapshots,
    /// webhooks) has deadlines of its own.
    #[serde(with = "crate::settings::duration")]
    pub resolve_after: Duration,
    /// Time between two signs of life of an open incident. A third of `resolve_after`, so that who follows the events
    /// may miss two.
    #[serde(with = "crate::settings::duration")]
    pub heartbeat: Duration,
    /// Incidents that were open when the agent ended and are not found again within this time are resolved: longer
    /// than `resolve_after`, since the first views of a new agent know least.
    #[serde(with = "crate::settings::duration")]
    pub restart_grace: Duration,
    /// An incident that comes back within this time of its alert being resolved is held back until the time is over.
    #[serde(with = "crate::settings::duration")]
    pub cool_down: Duration,
    /// Most alerts within `alerts_within`, of all incidents together. When a node falls over, twenty say so as well as
    /// two thousand.
    pub alerts: u32,
    /// See `alerts`.
    #[serde(with = "crate::settings::duration")]
    pub alerts_within: Duration,
    /// Most incidents open at once. Memory: about 4 KiB each.
    pub open_max: usize,
    /// Thresholds and mute rules for some processes or locks. For every reason, the first rule that matches decides
    /// alone; what it leaves out is as above.
    #[serde(rename = "rule", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            count_unknown: false,
            parked: Parked::default(),
            stalled: Stalled::default(),
            growing: Growing::default(),
            long_wait: LongWait::default(),
            deadlock: Deadlock::default(),
            clear_percent: 50,
            resolve_after: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            restart_grace: Duration::from_secs(60),
            cool_down: Duration::from_secs(10 * 60),
            alerts: 20,
            alerts_within: Duration::from_secs(10 * 60),
            open_max: 1_000,
            rules: Vec::new(),
        }
    }
}

/// A threshold's type, and how it is written in a rule, where it may be left out.
pub trait Given: Sized {
    /// The written form.
    type Written;
    /// What is meant by it.
    fn take(written: &Self::Written) -> Self;
}

impl Given for bool {
    type Written = Self;
    fn take(written: &Self) -> Self {
        *written
    }
}

impl Given for u64 {
    type Written = Self;
    fn take(written: &Self) -> Self {
        *written
    }
}

impl Given for Duration {
    type Written = Written;
    fn take(written: &Written) -> Self {
        written.0
    }
}

/// A duration as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Written(#[serde(with = "crate::settings::duration")] pub Duration);

/// A detector's thresholds: the structure with its defaults, and one for rules in which each may be left out.
macro_rules! thresholds {
    ($(#[$about:meta])* $name:ident, $overrides:ident {
        $($(#[$meta:meta])* $field:ident: $type:ty = $default:expr,)*
    }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            /// Whether to look for it at all.
            pub enabled: bool,
            $($(#[$meta])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { enabled: true, $($field: $default,)* }
            }
        }

        #[doc = concat!("What a rule says of [`", stringify!($name), "`].")]
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $overrides {
            /// Whether to look for it at all.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub enabled: Option<bool>,
            $(
                #[doc = concat!("See the field of this name in [`", stringify!($name), "`].")]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<<$type as Given>::Written>,
            )*
        }

        impl $overrides {
            /// `base` with what the rule says.
            #[must_use]
            pub fn over(&self, base: &$name) -> $name {
                $name {
                    enabled: self.enabled.unwrap_or(base.enabled),
                    $($field: self.$field.as_ref().map_or(base.$field, <$type as Given>::take),)*
                }
            }
        }
    };
}

thresholds! {
    /// Many threads wait for one lock, or in one process.
    ///
    /// A busy database has hundreds of waiters on a hot mutex all day; but none of them waits for long, since the lock
    /// goes round thousands of times a second. So waiters alone say little: the longest of them must have waited for
    /// `oldest`, too.
    Parked, ParkedRule {
        /// Waiters of one lock. 100 threads that wait a second each are a hundred requests that nobody answers, and
        /// early enough: the outage that this is for had 190,000 in the end.
        waiters: u64 = 100,
        /// Waiters in one process on locks that have not reached `waiters` themselves: more, since they need not have
        /// anything to do with each other. Never less than `waiters`.
        process_waiters: u64 = 300,
        /// The longest wait must be as old as this; for a process, each lock's longest wait. A futex wakes in the order in
        /// which threads came, so that 100 waiters and a second mean a lock that is handed on less than 100 times a second:
        /// beyond what contention does.
        #[serde(with = "crate::settings::duration")]
        oldest: Duration = Duration::from_secs(1),
        /// For how long all that must have been so. Not at all, since `oldest` has waited already: whoever asks for more
        /// hears of it later, and of no other hold-up.
        #[serde(with = "crate::settings::duration")]
        r#for: Duration = Duration::ZERO,
    }
}

thresholds! {
    /// Threads wait for a lock and it is not handed on. A lock that is, however slowly, is never stalled.
    Stalled, StalledRule {
        /// Waiters of the lock. One alone is a matter of `long_wait`: most programs have a thread that may wait.
        waiters: u64 = 2,
        /// For how long nothing was handed on while threads waited. Locks are held across slow disks and remote calls,
        /// whose own timeouts are often 10 or 15 seconds; beyond 30 nobody is in control any more.
        #[serde(with = "crate::settings::duration")]
        r#for: Duration = Duration::from_secs(30),
    }
}

thresholds! {
    /// The waiters of a lock become more and more: what is on its way to `parked`, only slower.
    Growing, GrowingRule {
        /// Waiters at the end. Below this, growth is noise.
        waiters: u64 = 20,
        /// Waiters at the end are at least so many times those at the beginning.
        factor: u64 = 2,
        /// Time in which they grow. The least number within each eighth of it counts, so that bursts say nothing; where
        /// these fall, they may take back a quarter of the rise.
        #[serde(with = "crate::settings::duration")]
        window: Duration = Duration::from_secs(60),
        /// The longest wait must be as old as this, see [`Parked::oldest`]: a database that becomes busy in the morning
        /// has more waiters, and none waits for long.
        #[serde(with = "crate::settings::duration")]
        oldest: Duration = Duration::from_secs(1),
    }
}

thresholds! {
    /// One thread has waited for a lock for very long. A semaphore counts only when its holder is known: main threads
    /// wait for their stop signal on one.
    LongWait, LongWaitRule {
        /// For how long. Longer than any timeout that a caller up the line has; who waits has been given up by then.
        #[serde(with = "crate::settings::duration")]
        r#for: Duration = Duration::from_secs(120),
    }
}

thresholds! {
    /// Owners wait for each other in a circle: that is certain, and has no threshold.
    Deadlock, DeadlockRule {}
}

impl Settings {
    /// Whether they make sense.
    ///
    /// # Errors
    /// One sentence that begins with the key.
    pub fn check(&self) -> Result<(), String> {
        let numbers = [
            ("clear_percent", u64::from(self.clear_percent), 1, 100),
            ("open_max", self.open_max as u64, 1, 100_000),
            ("alerts", u64::from(self.alerts), 1, 100_000),
        ];
        for (key, value, min, max) in numbers {
            if !(min..=max).contains(&value) {
                return Err(format!(
                    "{key} must be between {min} and {max}, it is {value}"
                ));
            }
        }
        let times = [
            ("resolve_after", self.resolve_after),
            ("heartbeat", self.heartbeat),
            ("alerts_within", self.alerts_within),
        ];
        for (key, value) in times {
            if value < SHORTEST {
                return Err(format!(
                    "{key} must be at least {}, it is {}",
                    humantime::format_duration(SHORTEST),
                    humantime::format_duration(value)
                ));
            }
        }
        let order = [
            (
                "heartbeat",
                self.heartbeat,
                "resolve_after",
                self.resolve_after,
            ),
            (
                "resolve_after",
                self.resolve_after,
                "restart_grace",
                self.restart_grace,
            ),
        ];
        for (less, short, more, long) in order {
            if short > long {
                return Err(format!(
                    "{less} ({}) must not be more than {more} ({})",
                    humantime::format_duration(short),
                    humantime::format_duration(long)
                ));
            }
        }
        super::rules::check(self)
    }
}
