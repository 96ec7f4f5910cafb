//! Rules: other thresholds, or no alerts, for some processes or locks.
//!
//! They are read from top to bottom. For every reason, the first rule that matches decides alone; what it leaves out is
//! as in the general settings. A mute rule whose time has passed matches nothing.

use std::time::SystemTime;

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};

use super::{
    settings::{DeadlockRule, GrowingRule, LongWaitRule, ParkedRule, Settings, StalledRule},
    thresholds::Thresholds,
};
use crate::model::{Kind, incident::Reason, watch, workload::Workload};

/// One rule, as it is written. Patterns are globs, in which `*` stands for slashes, too; all that are given must match.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// What it is for: nobody reads it but people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Name of the process (at most 15 characters, as in `/proc/PID/comm`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// Path in the cgroup hierarchy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// systemd unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Container id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Uid of the pod, with dashes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Id of the lock, as in incidents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// Kinds of locks; any when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<Kind>,
    /// For these reasons only; all when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// Incidents are kept, served and counted, but no alert is sent.
    pub mute: bool,
    /// Until when it mutes, RFC 3339; for ever without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// See [`Settings::count_unknown`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count_unknown: Option<bool>,
    /// Other thresholds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked: Option<ParkedRule>,
    /// Other thresholds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled: Option<StalledRule>,
    /// Other thresholds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growing: Option<GrowingRule>,
    /// Other thresholds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long_wait: Option<LongWaitRule>,
    /// Other thresholds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadlock: Option<DeadlockRule>,
}

impl Rule {
    /// The patterns with their keys.
    fn patterns(&self) -> [(&'static str, Option<&str>); 6] {
        [
            ("process", self.process.as_deref()),
            ("cgroup", self.cgroup.as_deref()),
            ("unit", self.unit.as_deref()),
            ("container", self.container.as_deref()),
            ("pod", self.pod.as_deref()),
            ("lock", self.lock.as_deref()),
        ]
    }

    /// Reasons for which it sets thresholds.
    fn sets(&self) -> impl Iterator<Item = Reason> {
        [
            (Reason::Parked, self.parked.is_some()),
            (Reason::Stalled, self.stalled.is_some()),
            (Reason::Growing, self.growing.is_some()),
            (Reason::LongWait, self.long_wait.is_some()),
            (Reason::Deadlock, self.deadlock.is_some()),
        ]
        .into_iter()
        .filter_map(|(reason, is_set)| is_set.then_some(reason))
    }

    /// Whether it matches everything.
    fn is_general(&self) -> bool {
        self.patterns().iter().all(|(_, pattern)| pattern.is_none())
            && self.kinds.is_empty()
            && self.until.is_none()
    }

    fn is_for(&self, reason: Reason) -> bool {
        self.reasons.is_empty() || self.reasons.contains(&reason)
    }

    /// Whether it can ever match and says anything.
    ///
    /// # Errors
    /// One sentence that begins with the key.
    pub(super) fn check(&self) -> Result<(), String> {
        for (key, pattern) in self.patterns() {
            let Some(pattern) = pattern else { continue };
            Glob::new(pattern)
                .map_err(|error| format!("{key} is no pattern: {}: {pattern:?}", error.kind()))?;
            if pattern.is_empty() {
                return Err(format!("{key} is empty, so that the rule never matches"));
            }
        }
        let idle = |kind: &&Kind| !kind.is_lock() && **kind != Kind::Unknown;
        if let Some(kind) = self.kinds.iter().find(idle) {
            return Err(format!(
                "kinds names {}, which is never counted: who waits for that has nothing to do",
                kind.as_str()
            ));
        }
        if let Some(reason) = self.sets().find(|&reason| !self.is_for(reason)) {
            let reason = reason.as_str();
            return Err(format!(
                "{reason} is set, but the rule's reasons leave {reason} out"
            ));
        }
        match (&self.until, self.mute) {
            (Some(_), false) => return Err("until belongs to mute = true".into()),
            (Some(until), true) => {
                humantime::parse_rfc3339(until).map_err(|error| {
                    format!("until must be like 2026-12-31T23:59:59Z, {until:?} is not: {error}")
                })?;
            }
            (None, _) => {}
        }
        if !self.mute && self.count_unknown.is_none() && self.sets().next().is_none() {
            return Err(
                "mute is not set and neither is any threshold: the rule does nothing".into(),
            );
        }
        Ok(())
    }
}

/// A rule ready for use.
#[derive(Debug)]
struct Compiled {
    rule: Rule,
    /// In the order of [`Rule::patterns`].
    globs: [Option<GlobMatcher>; 6],
    until: Option<SystemTime>,
    thresholds: Thresholds,
}

/// All rules.
#[derive(Debug)]
pub(super) struct Rules {
    general: Thresholds,
    rules: Vec<Compiled>,
}

/// Number of a rule in [`Rules`].
type Number = u16;

/// What is known of the lock in question; `None` for a process as a whole.
pub(super) type Subject<'a> = Option<(&'a str, Kind)>;

impl Rules {
    /// A rule that is not as [`check`] wants it is left out.
    pub(super) fn new(settings: &Settings) -> Self {
        let general = Thresholds::new(settings);
        let rules = settings.rules.iter().take(MAX_RULES);
        let rules = rules
            .filter(|rule| rule.check().is_ok())
            .map(|rule| Compiled {
                globs: rule.patterns().map(|(_, pattern)| {
                    pattern.and_then(|pattern| Some(Glob::new(pattern).ok()?.compile_matcher()))
                }),
                until: rule
                    .until
                    .as_ref()
                    .and_then(|until| humantime::parse_rfc3339(until).ok()),
                thresholds: general.with(rule),
                rule: rule.clone(),
            })
            .collect();
        Self { general, rules }
    }

    /// Rules that match a process, as far as the process decides.
    pub(super) fn of_process(&self, process: &watch::Process) -> Box<[Number]> {
        let Workload {
            cgroup,
            container_id,
            pod_uid,
            unit,
            container_runtime: _,
            qos_class: _,
        } = &*process.workload;
        let facts = [
            Some(process.comm.as_str()),
            cgroup.as_deref(),
            unit.as_deref(),
            container_id.as_deref(),
            pod_uid.as_deref(),
        ];
        let matches = |rule: &Compiled| {
            rule.globs
                .iter()
                .zip(facts)
                .all(|(glob, fact)| is_match(glob.as_ref(), fact))
        };
        (0..)
            .zip(&self.rules)
            .filter_map(|(number, rule)| matches(rule).then_some(number))
            .collect()
    }

    /// What holds for `subject` of a process that the rules `numbers` match, at `at`, for every reason.
    pub(super) fn choose(
        &self,
        numbers: &[Number],
        subject: Subject<'_>,
        at: SystemTime,
    ) -> Choice<'_> {
        let mut choice = Choice {
            general: &self.general,
            by: [None; REASONS.len()],
        };
        let rules = numbers
            .iter()
            .filter_map(|&number| self.rules.get(usize::from(number)));
        for rule in rules.filter(|rule| rule.covers(subject, at)) {
            for (by, &reason) in choice.by.iter_mut().zip(&REASONS) {
                if by.is_none() && rule.rule.is_for(reason) {
                    *by = Some(rule);
                }
            }
        }
        choice
    }

    /// All thresholds that can hold for anything.
    pub(super) fn all(&self) -> impl Iterator<Item = &Thresholds> {
        std::iter::once(&self.general).chain(self.rules.iter().map(|rule| &rule.thresholds))
    }
}

impl Compiled {
    fn covers(&self, subject: Subject<'_>, at: SystemTime) -> bool {
        let lock = self.globs.last().and_then(Option::as_ref);
        let kinds = &self.rule.kinds;
        let is_covered = match subject {
            Some((id, kind)) => {
                is_match(lock, Some(id)) && (kinds.is_empty() || kinds.contains(&kind))
            }
            None => lock.is_none() && kinds.is_empty(),
        };
        is_covered && self.until.is_none_or(|until| at < until)
    }
}

fn is_match(glob: Option<&GlobMatcher>, fact: Option<&str>) -> bool {
    glob.is_none_or(|glob| fact.is_some_and(|fact| glob.is_match(fact)))
}

/// All reasons, as [`Choice`] has them.
const REASONS: [Reason; 5] = [
    Reason::Parked,
    Reason::Stalled,
    Reason::Growing,
    Reason::LongWait,
    Reason::Deadlock,
];

/// Most rules.
pub(super) const MAX_RULES: usize = 1_000;

/// What holds for one lock or process.
#[derive(Clone, Copy)]
pub(super) struct Choice<'a> {
    general: &'a Thresholds,
    by: [Option<&'a Compiled>; REASONS.len()],
}

impl<'a> Choice<'a> {
    fn rule(&self, reason: Reason) -> Option<&'a Compiled> {
        let mut rules = self.by.iter().zip(REASONS);
        rules.find_map(|(rule, of)| (of == reason).then_some(*rule)?)
    }

    /// Thresholds for this reason.
    pub(super) fn thresholds(&self, reason: Reason) -> &'a Thresholds {
        self.rule(reason)
            .map_or(self.general, |rule| &rule.thresholds)
    }

    /// Whether alerts for this reason are muted.
    pub(super) fn is_muted(&self, reason: Reason) -> bool {
        self.rule(reason).is_some_and(|rule| rule.rule.mute)
    }
}

/// Whether thresholds and rules make sense.
///
/// # Errors
/// One sentence that begins with the key.
pub(super) fn check(settings: &Settings) -> Result<(), String> {
    let compiled = Rules::new(settings);
    compiled.general.check()?;
    let rules = &settings.rules;
    if rules.len() > MAX_RULES {
        return Err(format!(
            "rule: at most {MAX_RULES}, there are {}",
            rules.len()
        ));
    }
    for (number, rule) in rules.iter().enumerate() {
        let at = |error: String| format!("rule[{number}].{error}");
        rule.check().map_err(at)?;
        compiled.general.with(rule).check().map_err(at)?;
        let before = rules.iter().take(number).enumerate();
        let hides = |by: &Rule| {
            by.is_general()
                && REASONS
                    .iter()
                    .all(|&reason| by.is_for(reason) || !rule.is_for(reason))
        };
        if let Some((by, _)) = before.into_iter().find(|(_, by)| hides(by)) {
            return Err(format!(
                "rule[{number}] can never match: rule[{by}] before it matches everything, and the first one decides"
            ));
        }
    }
    Ok(())
}
