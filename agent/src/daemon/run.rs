//! Starting everything, keeping it going, and ending it.

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

    fn start_loops(&self) -> Result<(), Error> {
        let (tell, first) = mpsc::sync_channel(1);
        self.hub
            .board
            .heed(&self.settings.borrow().governor.kill_switch);
        self.start_watch(tell)?;
        // That the kernel refuses is an error now, and later a reason to try again.
        match first.recv_timeout(ATTACH) {
            Ok(Some(error)) => return Err(error.into()),
            Ok(None) => {}
            Err(_) => tracing::error!("attaching takes very long"),
        }
        // What attaching costs is no reason to do less.
        self.start_governor()?;
        self.start_evidence()?;
        self.start_alert()?;
        self.start_detect()?;
        self.start_serve()?;
        if let Ok(address) = self.listener.local_addr() {
            tracing::info!(%address, "listening");
        }
        Ok(())
    }

    fn start_loop(
        &self,
        name: &'static str,
        deadline: Duration,
        patience: Duration,
        stop: &Stop,
        make: Box<Make>,
    ) -> Result<(), Error> {
        let spec = Spec {
            name,
            deadline,
            patience,
            stop: stop.clone(),
            make,
        };
        Ok(self.hub.supervisor.start(spec)?)
    }

    fn start_watch(&self, tell: SyncSender<Option<PlaneError>>) -> Result<(), Error> {
        let tick = self.settings.borrow().watch.tick;
        let (hub, features) = (Arc::clone(&self.hub), self.features.clone());
        let settings = self.settings.subscribe();
        // Told once; later failures are the supervisor's business.
        let tell = Mutex::new(Some(tell));
        let make = move || {
            let settings = settings.borrow().clone();
            let look = Look::new(&hub, &settings.watch, &settings.governor, &features);
            let first = tell.lock().unwrap_or_else(PoisonError::into_inner).take();
            match (look, first) {
                (Ok(look), first) => {
                    first.map(|first| first.send(None));
                    Ok(Box::new(look) as _)
                }
                (Err(error), Some(first)) => {
                    let text = error.to_string();
                    let _ = first.send(Some(error));
                    Err(anyhow::Error::msg(text))
                }
                (Err(error), None) => Err(error.into()),
            }
        };
        self.start_loop(
            name::WATCH,
            tick,
            tick * 3 + ATTACH,
            &self.eyes,
            Box::new(make),
        )
    }

    fn start_detect(&self) -> Result<(), Error> {
        let tick = self.settings.borrow().watch.tick;
        let (hub, settings) = (Arc::clone(&self.hub), self.settings.subscribe());
        let runtime = self.runtime.handle().clone();
        let make = move || {
            let settings = settings.borrow().detect.clone();
            Ok(Box::new(Judge::new(&hub, &settings, &runtime)) as _)
        };
        self.start_loop(
            name::DETECT,
            tick,
            patience(tick),
            &self.eyes,
            Box::new(make),
        )
    }

    fn start_governor(&self) -> Result<(), Error> {
        let (hub, settings) = (Arc::clone(&self.hub), self.settings.subscribe());
        let make = move || {
            let settings = settings.borrow().clone();
            let governor =
                Governor::new(settings.governor.clone(), most(&settings), Arc::clone(&hub));
            Ok(Box::new(governor) as _)
        };
        let second = Duration::from_secs(1);
        self.start_loop(
            name::GOVERNOR,
            second,
            patience(second),
            &self.eyes,
            Box::new(make),
        )
    }

    fn start_evidence(&self) -> Result<(), Error> {
        let (evidence, tick) = {
            let settings = self.settings.borrow();
            (settings.evidence.clone(), settings.watch.tick)
        };
        let deadline = evidence.deadline;
        let parts = Parts {
            recorder: Arc::new(Mutex::new(Recorder::new(&evidence.flight))),
            collector: Arc::new(Collector::new(evidence, self.features.clone())),
            store: Arc::clone(&self.store),
            runtime: self.runtime.handle().clone(),
        };
        let (hub, of) = (Arc::clone(&self.hub), parts.clone());
        let make = move || Ok(Box::new(Chronicle::new(&hub, &of)) as _);
        self.start_loop(
            name::RECORD,
            tick,
            patience(tick),
            &self.mouths,
            Box::new(make),
        )?;
        let hub = Arc::clone(&self.hub);
        let make = move || Ok(Box::new(Witness::new(&hub, &parts)) as _);
        // The disk may take its time after the deadline.
        self.start_loop(
            name::SNAPSHOT,
            deadline,
            deadline + patience(deadline),
            &self.mouths,
            Box::new(make),
        )
    }

    fn start_alert(&self) -> Result<(), Error> {
        let (hub, settings) = (Arc::clone(&self.hub), self.settings.subscribe());
        let runtime = self.runtime.handle().clone();
        let make = move || {
            let settings = settings.borrow().clone();
            let grace = settings.agent.grace / 2;
            Ok(Box::new(Herald::new(&hub, &settings.alert, &runtime, grace)?) as _)
        };
        let second = Duration::from_secs(1);
        self.start_loop(
            name::ALERT,
            second,
            patience(second),
            &self.mouths,
            Box::new(make),
        )
    }

    fn start_serve(&self) -> Result<(), Error> {
        let hub = &self.hub;
        let beats = Arc::new(AtomicU64::new(0));
        let (of_health, of_verdict, counted) =
            (Arc::clone(hub), Arc::clone(hub), Arc::clone(&beats));
        let settings = self.settings.subscribe();
        let sources = serve::Sources {
            view: hub.view.subscribe(),
            incidents: hub.incidents.subscribe(),
            events: hub.events.clone(),
            health: Arc::new(move || of_health.health()),
            snapshots: Arc::new(serving::Bundles(Arc::clone(&self.store))),
            verdict: Arc::new(move |selector| {
                let tick = settings.borrow().watch.tick;
                verdict(&of_verdict, tick, selector)
            }),
            beat: Arc::new(move || {
                counted.fetch_add(1, Ordering::Relaxed);
            }),
        };
        let parts = serving::Parts {
            runtime: self.runtime.handle().clone(),
            listener: Arc::clone(&self.listener),
            state: serve::State::new(sources, &self.settings.borrow().serve),
            settings: self.serve.subscribe(),
            beats,
            stop: self.mouths.clone(),
        };
        let make = move || Ok(Box::new(Server::new(&parts)) as _);
        let second = Duration::from_secs(1);
        self.start_loop(
            name::SERVE,
            second * 2,
            patience(second),
            &self.mouths,
            Box::new(make),
        )
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

fn verdict(hub: &Hub, tick: Duration, selector: &Selector) -> Verdict {
    let view = hub.view.borrow().clone();
    let Some(view) = view else {
        return Verdict {
            schema: verdict::SCHEMA.to_owned(),
            at: rfc3339(SystemTime::now()),
            health: Health::Unknown,
            text: "the agent does not look at anything now".to_owned(),
            incidents: Vec::new(),
        };
    };
    let age = monotonic_ns().saturating_sub(view.at_ns);
    let is_stale = Duration::from_nanos(age) > tick * STALE_TICKS;
    let doubt = is_stale.then_some("the agent has not looked at the node for a while");
    let open = hub.ledger.open();
    detect::verdict(&view, doubt, &open, selector)
}
