//! Loops that fail in every way there is.

use std::sync::{
    atomic::AtomicBool,
    mpsc::{Receiver, Sender, channel},
};

use super::*;

const LONG: Duration = Duration::from_secs(20);

/// What happens in a turn.
type Turn = dyn Fn(u64, &Lease) -> anyhow::Result<()> + Send + Sync;

struct Counting {
    /// Turns of this state.
    turns: u64,
    turn: Arc<Turn>,
    ended: Sender<&'static str>,
}

impl Body for Counting {
    fn wait(&mut self, stop: &Stop) {
        stop.wait(Duration::from_millis(1));
    }

    fn turn(&mut self, lease: &Lease) -> anyhow::Result<()> {
        self.turns += 1;
        (self.turn)(self.turns, lease)
    }

    fn end(&mut self) {
        let _ = self.ended.send("ended");
    }
}

fn start(
    patience: Duration,
    turn: impl Fn(u64, &Lease) -> anyhow::Result<()> + Send + Sync + 'static,
) -> (Supervisor, Stop, Receiver<&'static str>) {
    let (supervisor, stop, turn) = (Supervisor::default(), Stop::default(), Arc::new(turn));
    let (tell, told) = channel();
    let make = move || {
        let body = Counting {
            turns: 0,
            turn: Arc::clone(&turn) as Arc<Turn>,
            ended: tell.clone(),
        };
        Ok(Box::new(body) as Box<dyn Body>)
    };
    supervisor
        .start(Spec {
            name: "test",
            deadline: LONG,
            patience,
            stop: stop.clone(),
            make: Box::new(make),
        })
        .unwrap();
    (supervisor, stop, told)
}

/// Checks as the agent does until the loop is as wanted.
fn until(supervisor: &Supervisor, wanted: impl Fn(&Loop) -> bool) -> Loop {
    let deadline = Instant::now() + LONG;
    loop {
        supervisor.check();
        let health = supervisor.health().remove(0);
        if wanted(&health) {
            return health;
        }
        assert!(Instant::now() < deadline, "{health:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn beats_and_ends_when_asked() {
    let (supervisor, stop, told) = start(LONG, |_, _| Ok(()));
    let health = until(&supervisor, |health| health.beats > 3);
    assert_eq!((health.panics, health.restarts, health.overruns), (0, 0, 0));
    assert!(health.is_alive());
    assert!(!supervisor.join(&["test"], Instant::now()), "nobody asked");
    stop.request();
    assert!(supervisor.join(&["test"], Instant::now() + LONG));
    assert_eq!(told.recv().unwrap(), "ended");
}

#[test]
fn a_panic_costs_the_state_and_not_the_loop() {
    let once = AtomicBool::new(false);
    let (supervisor, stop, _told) = start(LONG, move |turns, _| {
        assert!(
            turns != 3 || once.swap(true, Ordering::Relaxed),
            "third turn"
        );
        Ok(())
    });
    let health = until(&supervisor, |health| health.beats > 10);
    assert_eq!((health.panics, health.restarts), (1, 1));
    stop.request();
    assert!(supervisor.join(&["test"], Instant::now() + LONG));
}

#[test]
fn an_error_rests_longer_and_longer() {
    let (supervisor, stop, _told) = start(LONG, |_, _| anyhow::bail!("no"));
    let began = Instant::now();
    let health = until(&supervisor, |health| health.restarts == 3);
    assert_eq!((health.panics, health.beats), (0, 0));
    // 100 + 200 + 400 ms.
    assert!(began.elapsed() >= Duration::from_millis(700));
    stop.request();
    assert!(
        supervisor.join(&["test"], Instant::now() + LONG),
        "it ends while it rests"
    );
}

#[test]
fn a_hanging_turn_is_replaced_and_has_no_say_later() {
    let (release, hang) = channel::<()>();
    let (hang, was_valid) = (Mutex::new(hang), Arc::new(Mutex::new(None)));
    let (seen, first) = (Arc::clone(&was_valid), AtomicBool::new(true));
    let (supervisor, stop, _told) = start(Duration::from_millis(50), move |_, lease| {
        if first.swap(false, Ordering::Relaxed) {
            let _ = hang.lock().unwrap().recv();
            *seen.lock().unwrap() = Some(lease.is_valid());
        }
        Ok(())
    });
    let health = until(&supervisor, |health| health.beats > 3);
    assert_eq!((health.restarts, health.panics), (1, 0));
    drop(release);
    let deadline = Instant::now() + LONG;
    while was_valid.lock().unwrap().is_none() {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    assert_eq!(*was_valid.lock().unwrap(), Some(false));
    stop.request();
    assert!(supervisor.join(&["test"], Instant::now() + LONG));
}

#[test]
fn threads_that_hang_are_bounded() {
    let (release, hang) = channel::<()>();
    let hang = Mutex::new(hang);
    let started = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&started);
    let (supervisor, stop, _told) = start(Duration::from_millis(20), move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        let _ = hang.lock().unwrap().recv();
        Ok(())
    });
    let health = until(&supervisor, |health| {
        health.restarts == u64::from(MAX_ABANDONED)
    });
    assert_eq!(health.beats, 0);
    until(&supervisor, |health| !health.is_alive());
    for _ in 0..100 {
        supervisor.check();
    }
    assert_eq!(supervisor.health()[0].restarts, u64::from(MAX_ABANDONED));
    // They come back, and the loop with them.
    drop(release);
    until(&supervisor, |health| health.beats > 3 && health.is_alive());
    stop.request();
    assert!(supervisor.join(&["test"], Instant::now() + LONG));
}

#[test]
fn what_is_renewed_starts_over_and_has_not_failed() {
    let most = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&most);
    let (supervisor, stop, _told) = start(LONG, move |turns, _| {
        seen.lock().unwrap().push(turns);
        Ok(())
    });
    until(&supervisor, |health| health.beats > 3);
    supervisor.renew("other");
    supervisor.renew("test");
    let deadline = Instant::now() + LONG;
    while most
        .lock()
        .unwrap()
        .iter()
        .filter(|&&turns| turns == 1)
        .count()
        < 2
    {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    stop.request();
    assert!(supervisor.join(&["test"], Instant::now() + LONG));
    let health = supervisor.health().remove(0);
    assert_eq!((health.restarts, health.panics), (0, 0));
    let first_turns = most
        .lock()
        .unwrap()
        .iter()
        .filter(|&&turns| turns == 1)
        .count();
    assert_eq!(first_turns, 2, "renewed once");
}
