//! Starting everything, keeping it going, and ending it.

mod start;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, SyncSender},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::watch as latest,
    time,
};

use super::{
    governor::{Governor, own},
    hub::Hub,
    loops::{
        alert::Herald,
        detect::Judge,
        evidence::{Chronicle, Parts, Witness},
        serve::{self as serving, Server},
        watch::Look,
    },
    supervise::{Make, Spec, Stop},
    systemd::Systemd,
};
use crate::{
    detect,
    evidence::{Collector, flight::Recorder},
    ingest::{clock::monotonic_ns, plane::PlaneError},
    model::{
        health::Level,
        verdict::{self, Health, Selector, Verdict},
    },
    probe::feature::Features,
    proc::time::rfc3339,
    serve,
    settings::Settings,
    sink::{
        alert::{self, Alerts},
        store::Store,
    },
    watch::settings::Probe,
};

/// Threads for HTTP and timers.
const WORKERS: usize = 2;
/// How often it is looked whether a loop hangs.
const CHECK: Duration = Duration::from_millis(250);
/// How long attaching may take, also on a machine that has nothing left.
const ATTACH: Duration = Duration::from_secs(60);
/// A view that is older than so many ticks is not to be trusted.
const STALE_TICKS: u32 = 5;

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refuses.
    #[error(transparent)]
    Plane(#[from] PlaneError),
    /// The address cannot be had, or who may ask cannot be told.
    #[error(transparent)]
    Serve(#[from] serve::Error),
    /// Nobody could be told.
    #[error(transparent)]
    Alert(#[from] alert::Error),
    /// A thread, a signal or the runtime cannot be had.
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
    /// Something hung when it was to end.
    #[error("did not end within {0:?}: given up")]
    Grace(Duration),
}

/// Reads the configuration again.
pub type Reload<'a> = dyn Fn() -> Result<Settings, String> + 'a;

/// Runs until it is told to end.
///
/// # Errors
/// It cannot begin, or did not end in time.
pub fn run(settings: Settings, reload: &Reload<'_>, features: Features) -> Result<(), Error> {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("holdup-io")
        .enable_all()
        .build()?;
    own::raise_descriptors();
    let agent = Agent::start(settings, features, runtime)?;
    agent.run(reload)
}

/// How each loop is named, and when it is taken to hang.
mod name {
    pub const WATCH: &str = "watch";
    pub const DETECT: &str = "detect";
    pub const SNAPSHOT: &str = "snapshot";
    pub const RECORD: &str = "record";
    pub const ALERT: &str = "alert";
    pub const SERVE: &str = "serve";
    pub const GOVERNOR: &str = "governor";
}

struct Agent {
    settings: latest::Sender<Settings>,
    serve: latest::Sender<serve::Settings>,
    features: Features,
    runtime: Runtime,
    hub: Arc<Hub>,
    listener: Arc<TcpListener>,
    store: Arc<Store>,
    /// Those that look and judge; ended first.
    eyes: Stop,
    /// Those that tell; ended when there is nothing new to be told.
    mouths: Stop,
    systemd: Systemd,
}

impl Agent {
    fn start(settings: Settings, features: Features, runtime: Runtime) -> Result<Self, Error> {
        let listener = {
            let _inside = runtime.enter();
            serve::bind(settings.serve.listen)?
        };
        serve::Access::load(&settings.serve).map_err(serve::Error::from)?;
        // Files with secrets: later it would be a loop that fails again and again.
        drop(Alerts::start(&settings.alert)?);
        let store = Arc::new(Store::new(settings.store.clone()));
        let open = store.load_open().unwrap_or_else(|error| {
            tracing::warn!(%error, "incidents of the run before are not known");
            Vec::new()
        });
        if let Err(error) = store.save_open(&open) {
            let directory = settings.store.directory.display();
            tracing::error!(%error, %directory, "snapshots cannot be kept; everything else goes on");
        }
        let agent = Self {
            hub: Arc::new(Hub::new(most(&settings), open)),
            serve: latest::Sender::new(settings.serve.clone()),
            settings: latest::Sender::new(settings),
            features,
            runtime,
            listener: Arc::new(listener),
            store,
            eyes: Stop::default(),
            mouths: Stop::default(),
            systemd: Systemd::from_environment(),
        };
        agent.start_loops()?;
        Ok(agent)
    }

    /// Until a signal says otherwise.
    fn run(self, reload: &Reload<'_>) -> Result<(), Error> {
        let _inside = self.runtime.enter();
        let [mut term, mut int, mut hup] = [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
        ]
        .map(signal);
        let mut check = time::interval(CHECK);
        check.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut is_ready = false;
        let mut watchdog = Instant::now();
        loop {
            let what = self.runtime.block_on(async {
                tokio::select! {
                    what = received(&mut term, "SIGTERM") => what,
                    what = received(&mut int, "SIGINT") => what,
                    what = received(&mut hup, "SIGHUP") => what,
                    _ = check.tick() => None,
                }
            });
            match what {
                Some("SIGHUP") => self.reload(reload),
                Some(signal) => {
                    tracing::info!(signal, "ending");
                    break;
                }
                None => {}
            }
            self.hub.supervisor.check();
            // With the kill switch set there is nothing to wait for.
            let has_looked = self.hub.view.borrow().is_some();
            if !is_ready && (has_looked || self.hub.board.level() == Level::Off) {
                is_ready = true;
                tracing::info!(does = ?self.hub.board.level(), "ready");
                self.systemd.tell("READY=1");
            }
            self.feed_watchdog(&mut watchdog);
        }
        self.end()
    }

    /// Tells systemd that all is well, if it is.
    fn feed_watchdog(&self, last: &mut Instant) {
        let is_due = self
            .systemd
            .watchdog_every()
            .is_some_and(|every| last.elapsed() >= every);
        if is_due
            && self
                .hub
                .supervisor
                .health()
                .iter()
                .all(|one| one.is_alive())
        {
            *last = Instant::now();
            self.systemd.tell("WATCHDOG=1");
        }
    }

    /// Takes over another configuration, whole or not at all.
    fn reload(&self, reload: &Reload<'_>) {
        self.systemd.tell("RELOADING=1");
        match self.changed(reload) {
            Ok(changed) => {
                self.hub.count_reload(true);
                tracing::info!(?changed, "the configuration was read again");
            }
            Err(error) => {
                self.hub.count_reload(false);
                tracing::error!(error, "the configuration is refused, the old one stays");
            }
        }
        self.systemd.tell("READY=1");
    }

    fn changed(&self, reload: &Reload<'_>) -> Result<Vec<&'static str>, String> {
        let new = reload()?;
        let old = self.settings.borrow().clone();
        let fixed = [
            (new.serve.listen != old.serve.listen, "serve.listen"),
            (new.serve.metrics != old.serve.metrics, "serve.metrics"),
            (new.store != old.store, "store"),
            (new.evidence != old.evidence, "evidence"),
        ];
        if let Some((_, key)) = fixed.iter().find(|(is_changed, _)| *is_changed) {
            return Err(format!(
                "{key} cannot be changed while the agent runs: restart it"
            ));
        }
        serve::Access::load(&new.serve).map_err(|error| error.to_string())?;
        drop(Alerts::start(&new.alert).map_err(|error| error.to_string())?);
        let parts = [
            (
                new.watch != old.watch || new.governor != old.governor,
                name::WATCH,
            ),
            (new.detect != old.detect, name::DETECT),
            (
                new.alert != old.alert || new.agent != old.agent,
                name::ALERT,
            ),
            (new.governor != old.governor, name::GOVERNOR),
            (new.serve != old.serve, name::SERVE),
        ];
        let parts = parts
            .into_iter()
            .filter_map(|(is_changed, name)| is_changed.then_some(name));
        let changed: Vec<&'static str> = parts.collect();
        self.settings.send_replace(new.clone());
        if new.serve != old.serve {
            self.serve.send_replace(new.serve);
        }
        for &name in changed.iter().filter(|&&name| name != name::SERVE) {
            self.hub.supervisor.renew(name);
        }
        self.hub.wake_watch();
        Ok(changed)
    }

    /// First those that look, then those that tell what they have seen.
    fn end(self) -> Result<(), Error> {
        let grace = self.settings.borrow().agent.grace;
        let deadline = Instant::now() + grace;
        self.systemd.tell("STOPPING=1");
        // Whatever hangs from here on, the process ends.
        thread::spawn(move || {
            thread::sleep(grace + CHECK);
            std::process::exit(1);
        });
        self.eyes.request();
        self.hub.wake_watch();
        let eyes = [name::DETECT, name::GOVERNOR, name::WATCH];
        let mut has_ended = self.hub.supervisor.join(&eyes, deadline);
        self.mouths.request();
        let mouths = [name::ALERT, name::RECORD, name::SERVE];
        has_ended &= self.hub.supervisor.join(&mouths, deadline);
        // One that is being taken may take longer than there is time. It is not there at all then.
        if !self.hub.supervisor.join(&[name::SNAPSHOT], deadline) {
            tracing::warn!("a snapshot could not be finished");
        }
        self.runtime
            .shutdown_timeout(deadline.saturating_duration_since(Instant::now()));
        if !has_ended {
            return Err(Error::Grace(grace));
        }
        tracing::info!("ended");
        Ok(())
    }
}

/// How long a loop may go without a beat.
fn patience(deadline: Duration) -> Duration {
    deadline * 3 + Duration::from_secs(10)
}

/// As much as these settings let the agent do.
const fn most(settings: &Settings) -> Level {
    match settings.watch.probe {
        Probe::Default => Level::Full,
        Probe::None => Level::Census,
    }
}

/// Ready with the name when the signal comes.
async fn received(
    signal: &mut std::io::Result<Signal>,
    name: &'static str,
) -> Option<&'static str> {
    match signal {
        Ok(signal) => {
            signal.recv().await;
            Some(name)
        }
        // Then it does what it does to every process.
        Err(_) => std::future::pending().await,
    }
}
