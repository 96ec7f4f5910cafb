//! What is known of a loop from outside: when it last beat, what it is doing, how often it failed.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use super::stop::lock;
use crate::model::health::Loop;

/// What a loop is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is being made, waits for work, or works.
    Running,
    /// It has failed and will be made again.
    Resting,
    /// It was asked to end, and did.
    Ended,
}

/// Shared by a loop's thread and by those who watch over it.
#[derive(Debug)]
pub struct Pulse {
    name: &'static str,
    deadline: Duration,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Which thread is the loop's; those before it were abandoned and do not count.
    thread: u64,
    phase: Phase,
    last_beat: Instant,
    turn_since: Option<Instant>,
    is_renewal_due: bool,
    counts: Loop,
}

impl Pulse {
    /// Of a loop that is about to start.
    #[must_use]
    pub fn new(name: &'static str, deadline: Duration, patience: Duration) -> Self {
        Self {
            name,
            deadline,
            patience,
            state: Mutex::new(State {
                thread: 0,
                phase: Phase::Running,
                last_beat: Instant::now(),
                turn_since: None,
                is_renewal_due: false,
                counts: Loop {
                    name: name.to_owned(),
                    patience_ns: nanoseconds(patience),
                    ..Loop::default()
                },
            }),
        }
    }

    /// Name of the loop.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether `thread` still is the loop's.
    #[must_use]
    pub fn is_current(&self, thread: u64) -> bool {
        lock(&self.state).thread == thread
    }

    /// A turn begins.
    pub(super) fn begin(&self, thread: u64) {
        self.change(thread, |state| state.turn_since = Some(Instant::now()));
    }

    /// A turn has ended: the heartbeat.
    pub(super) fn end(&self, thread: u64) {
        self.change(thread, |state| {
            state.last_beat = Instant::now();
            state.counts.beats += 1;
            self.account(state);
        });
    }

    /// A turn has panicked or failed; the loop rests before it is made again.
    pub(super) fn fail(&self, thread: u64, panicked: bool) {
        self.change(thread, |state| {
            state.phase = Phase::Resting;
            state.counts.panics += u64::from(panicked);
            self.account(state);
        });
    }

    /// It is made again. That it could not beat while it rested is no reason to give it up.
    pub(super) fn restart(&self, thread: u64) {
        self.change(thread, |state| {
            state.phase = Phase::Running;
            state.last_beat = Instant::now();
            state.counts.restarts += 1;
        });
    }

    /// Asks for the loop to be made anew, by other settings.
    pub(super) fn renew(&self) {
        lock(&self.state).is_renewal_due = true;
    }

    /// Whether that was asked for. Asking is answered once.
    pub(super) fn take_renewal(&self) -> bool {
        std::mem::take(&mut lock(&self.state).is_renewal_due)
    }

    /// It has ended as it was asked to.
    pub(super) fn finish(&self, thread: u64) {
        self.change(thread, |state| state.phase = Phase::Ended);
    }

    /// Whether it has ended.
    pub(super) fn is_finished(&self) -> bool {
        lock(&self.state).phase == Phase::Ended
    }

    /// Whether its thread hangs. It may rest for as long as it needs.
    pub(super) fn hangs(&self) -> bool {
        let state = lock(&self.state);
        state.phase == Phase::Running && state.last_beat.elapsed() > self.patience
    }

    /// Gives up the thread that hangs; returns the number of the one that takes its place.
    pub(super) fn abandon(&self) -> u64 {
        let mut state = lock(&self.state);
        self.account(&mut state);
        state.thread += 1;
        state.counts.restarts += 1;
        state.last_beat = Instant::now();
        state.thread
    }

    /// For metrics and `/livez`.
    #[must_use]
    pub fn health(&self) -> Loop {
        let state = lock(&self.state);
        Loop {
            last_beat_ns: nanoseconds(state.last_beat.elapsed()),
            ..state.counts.clone()
        }
    }

    /// The turn that was going on is over.
    fn account(&self, state: &mut State) {
        let took = state.turn_since.take().map(|since| since.elapsed());
        if let Some(took) = took {
            state.counts.turn_max_ns = state.counts.turn_max_ns.max(nanoseconds(took));
            state.counts.overruns += u64::from(took > self.deadline);
        }
    }

    fn change(&self, thread: u64, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        if state.thread == thread {
            change(&mut state);
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_thread_counts_no_more() {
        let pulse = Pulse::new("test", Duration::ZERO, Duration::ZERO);
        pulse.begin(0);
        std::thread::sleep(Duration::from_millis(2));
        assert!(pulse.hangs());
        let next = pulse.abandon();
        assert!(next == 1 && pulse.is_current(1) && !pulse.is_current(0));
        let health = pulse.health();
        assert_eq!((health.overruns, health.restarts, health.beats), (1, 1, 0));
        assert!(health.turn_max_ns >= 2_000_000);
        pulse.end(0);
        pulse.fail(0, true);
        assert_eq!(pulse.health().beats, 0);
        assert_eq!(pulse.health().panics, 0);
        pulse.begin(1);
        pulse.end(1);
        assert_eq!(pulse.health().beats, 1);
    }

    #[test]
    fn resting_is_not_hanging() {
        let pulse = Pulse::new("test", Duration::ZERO, Duration::ZERO);
        pulse.fail(0, true);
        std::thread::sleep(Duration::from_millis(1));
        assert!(!pulse.hangs());
        assert!(!pulse.health().is_alive(), "but it does not beat");
        pulse.restart(0);
        std::thread::sleep(Duration::from_millis(1));
        assert!(pulse.hangs());
        assert_eq!((pulse.health().panics, pulse.health().restarts), (1, 1));
    }
}
