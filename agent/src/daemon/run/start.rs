//! Starting the loops, each with what it needs of the others.

use super::*;

impl Agent {
    pub(super) fn start_loops(&self) -> Result<(), Error> {
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
