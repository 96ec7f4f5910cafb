//! Which incidents may be alerted about now.

use std::collections::{HashMap, VecDeque};

use super::{key::Key, level::ns, settings::Settings};
use crate::model::{health::HeldBack, incident::HeldBackBy};

/// Most keys in their cool-down, as a multiple of the incidents that may be open.
const COOLING_PER_OPEN: usize = 4;

/// What was sent, and what may not be sent again yet.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// When alerts were sent, oldest first; at most as many as may be.
    sent: VecDeque<u64>,
    /// Until when a key is held back.
    cooling: HashMap<Key, u64>,
    held_back: HeldBack,
}

impl Budget {
    /// Forgets what is over. Needs no room and no quiet moment.
    pub(super) fn expire(&mut self, settings: &Settings, now_ns: u64) {
        let within_ns = ns(settings.alerts_within);
        while let Some(&sent_ns) = self.sent.front()
            && now_ns.saturating_sub(sent_ns) >= within_ns
        {
            self.sent.pop_front();
        }
        self.cooling.retain(|_, until_ns| *until_ns > now_ns);
    }

    /// Why no alert may be sent about this key, apart from rules and other incidents.
    pub(super) fn ask(&self, key: Key, settings: &Settings) -> Option<HeldBackBy> {
        if self.cooling.contains_key(&key) {
            return Some(HeldBackBy::CoolDown);
        }
        let is_full = self.sent.len() >= settings.alerts as usize;
        is_full.then_some(HeldBackBy::RateLimit)
    }

    /// An alert is sent.
    pub(super) fn spend(&mut self, now_ns: u64) {
        self.sent.push_back(now_ns);
    }

    /// An incident is held back from its beginning.
    pub(super) fn count(&mut self, by: HeldBackBy) {
        let HeldBack {
            cool_down,
            rate_limit,
            muted,
        } = &mut self.held_back;
        match by {
            HeldBackBy::CoolDown => *cool_down += 1,
            HeldBackBy::RateLimit => *rate_limit += 1,
            HeldBackBy::Muted => *muted += 1,
            // Nothing is kept from anybody: the lock has its alert.
            HeldBackBy::SameLock => {}
        }
    }

    /// An alert about this key was resolved.
    pub(super) fn cool(&mut self, key: Key, settings: &Settings, now_ns: u64) {
        let cool_down_ns = ns(settings.cool_down);
        if cool_down_ns == 0 {
            return;
        }
        if self.cooling.len() >= settings.open_max.saturating_mul(COOLING_PER_OPEN) {
            let next = self
                .cooling
                .iter()
                .min_by_key(|&(&key, &until_ns)| (until_ns, key));
            if let Some(key) = next.map(|(&key, _)| key) {
                self.cooling.remove(&key);
            }
        }
        self.cooling
            .insert(key, now_ns.saturating_add(cool_down_ns));
    }

    pub(super) const fn held_back(&self) -> HeldBack {
        self.held_back
    }
}
