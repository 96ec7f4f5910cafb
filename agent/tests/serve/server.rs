//! A server of its own for each test, with sources that the test sets.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, UNIX_EPOCH},
};

use holdup::{
    model::{
        Kind, Outcomes,
        health::Health,
        incident::{Change, Event, Incident, Reason, SCHEMA, Status},
        verdict::{self, Selector, Verdict},
        watch::{Counts, Lock, Process, ProcessKey, View},
        workload::Workload,
    },
    serve::{self, Settings, Snapshots, Sources, State, Stored},
};
use tokio::sync::{broadcast, oneshot, watch};

/// Longest that a test waits for anything. Only a failure takes this long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A directory, as the store serves it.
struct Directory(PathBuf);

impl Snapshots for Directory {
    fn list(&self) -> io::Result<Vec<Stored>> {
        let stored = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            Ok(Stored {
                name: entry.file_name().to_string_lossy().into_owned(),
                bytes: entry.metadata()?.len(),
                written_at: "2026-11-26T12:00:00.000Z".into(),
            })
        };
        fs::read_dir(&self.0)?.map(stored).collect()
    }

    fn open(&self, name: &str) -> io::Result<File> {
        File::open(self.0.join(name))
    }
}

/// A server and its sources.
pub struct Server {
    pub address: SocketAddr,
    pub view: watch::Sender<Option<Arc<View>>>,
    pub incidents: watch::Sender<Arc<[Incident]>>,
    pub events: broadcast::Sender<Arc<Event>>,
    pub settings: watch::Sender<Settings>,
    pub health: Arc<Mutex<Health>>,
    pub beats: Arc<AtomicU64>,
    /// Snapshot directory.
    pub directory: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), serve::Error>>>,
}

/// Judges by process id: 1 healthy, 2 wedged, 4 panics, 5 thinks for too long; everything else is unknown.
fn judge(selector: &Selector) -> Verdict {
    let health = match selector {
        Selector::Pid(1) => verdict::Health::Healthy,
        Selector::Pid(2) => verdict::Health::Wedged,
        Selector::Pid(4) => panic!("as a test wants it"),
        Selector::Pid(5) => {
            thread::sleep(Duration::from_secs(2));
            verdict::Health::Wedged
        }
        _ => verdict::Health::Unknown,
    };
    Verdict {
        schema: verdict::SCHEMA.into(),
        at: "2026-11-26T12:00:00.000Z".into(),
        health,
        text: format!("{selector:?}"),
        incidents: Vec::new(),
    }
}

impl Server {
    /// With settings changed by `change`.
    pub fn start(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        settings.listen.set_port(0);
        change(&mut settings);
        settings.check().unwrap();
        let directory = scratch("snapshots");
        let health = Arc::new(Mutex::new(Health::default()));
        let beats = Arc::new(AtomicU64::new(0));
        let (view, views) = watch::channel(None);
        let (incidents, all_incidents) = watch::channel(Arc::default());
        let (events, _) = broadcast::channel(4096);
        let (told, told_health) = (Arc::clone(&beats), Arc::clone(&health));
        let sources = Sources {
            view: views,
            incidents: all_incidents,
            events: events.clone(),
            health: Arc::new(move || told_health.lock().unwrap().clone()),
            snapshots: Arc::new(Directory(directory.clone())),
            verdict: Arc::new(judge),
            beat: Arc::new(move || {
                told.fetch_add(1, Relaxed);
            }),
        };
        let state = State::new(sources, &settings);
        let (stop, stopped) = oneshot::channel::<()>();
        let (bound, address) = std::sync::mpsc::channel();
        let (settings, new_settings) = watch::channel(settings);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listen = new_settings.borrow().listen;
                let listener = serve::bind(listen)?;
                bound.send(listener.local_addr().unwrap()).unwrap();
                let stopped = async {
                    stopped.await.ok();
                };
                serve::serve(&listener, state, new_settings, stopped).await
            })
        });
        let address = address.recv_timeout(PATIENCE).unwrap();
        // What is counted for the metrics is counted from here on.
        let start = Instant::now();
        while events.receiver_count() == 0 {
            assert!(start.elapsed() < PATIENCE, "nobody listens to events");
            thread::sleep(Duration::from_millis(1));
        }
        Self {
            address,
            view,
            incidents,
            events,
            settings,
            health,
            beats,
            directory,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) -> Result<(), serve::Error> {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Status and body of a GET on a connection of its own.
    pub fn get(&self, path: &str) -> (u16, String) {
        get(&agent(), &self.url(path), &[])
    }

    /// The same as JSON.
    pub fn json(&self, path: &str) -> (u16, serde_json::Value) {
        let (status, body) = self.get(path);
        let value = serde_json::from_str(&body);
        (
            status,
            value.unwrap_or_else(|error| panic!("{path}: {error}: {body}")),
        )
    }

    /// A connection.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Everything that comes back for `request`, until the connection is closed.
    pub fn raw(&self, request: &str) -> String {
        let mut stream = self.connect();
        // The server may have answered and closed before it has read all.
        stream.write_all(request.as_bytes()).ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The value of one series of `/metrics`.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200, "{text}");
        value(&text, series)
    }

    /// Waits until a series has this value.
    pub fn await_metric(&self, series: &str, wanted: f64) {
        let start = Instant::now();
        while self.metric(series) != Some(wanted) {
            let found = self.metric(series);
            assert!(
                start.elapsed() < PATIENCE,
                "{series} is {found:?}, not {wanted}"
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Shows `view`, and waits until it was counted.
    pub fn show(&self, view: View) {
        let ready = view
            .processes
            .values()
            .map(|process| process.comm.clone())
            .next();
        self.view.send_replace(Some(Arc::new(view)));
        if let Some(comm) = ready {
            let start = Instant::now();
            while !self
                .get("/metrics")
                .1
                .contains(&format!("process=\"{comm}\""))
            {
                assert!(start.elapsed() < PATIENCE, "the view was not counted");
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.thread.is_some() && !thread::panicking() {
            self.stop().unwrap();
        }
        fs::remove_dir_all(&self.directory).ok();
    }
}

/// The value of `series` in a text.
pub fn value(text: &str, series: &str) -> Option<f64> {
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("{series} ")))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// A client that keeps nothing.
pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_idle_connections(0)
        .timeout_global(Some(PATIENCE))
        .build()
        .new_agent()
}

/// Status and body.
pub fn get(agent: &ureq::Agent, url: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let request = agent.get(url);
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    let mut response = request.call().unwrap();
    let status = response.status().as_u16();
    let body = response
        .body_mut()
        .with_config()
        .limit(100 << 20)
        .read_to_string();
    (status, body.unwrap())
}

/// A new directory.
pub fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Relaxed);
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("serve-{}-{count}-{name}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// `processes` processes with `locks` locks each, which have all been waited for.
pub fn view(processes: u32, locks: u64) -> View {
    let mut view = View {
        at_ns: 100_000_000_000,
        at: UNIX_EPOCH + Duration::from_secs(1_795_262_400),
        processes: BTreeMap::new(),
        locks: Vec::new(),
        deadlocks: Vec::new(),
        plan: Arc::default(),
        loss: BTreeMap::from([("ring_full".into(), 3)]),
    };
    for pid in 1..=processes {
        let key = ProcessKey { pid, generation: 1 };
        let process = Process {
            key,
            comm: format!("server-{pid}"),
            exe: Some("/usr/bin/server".into()),
            workload: Arc::new(Workload {
                unit: Some(format!("server@{pid}.service")),
                ..Workload::default()
            }),
            parked: BTreeMap::from([(Kind::Mutex, locks)]),
            go: None,
        };
        view.processes.insert(key, process);
        view.locks
            .extend((1..=locks).map(|number| Arc::new(lock(key, number))));
    }
    view
}

/// A lock with `number` waiters, and as many finished waits of 1 ms.
fn lock(process: ProcessKey, number: u64) -> Lock {
    let mut histogram = [0; holdup_abi::lock::BUCKETS];
    histogram[holdup_abi::lock::bucket(1_000_000)] = number;
    Lock {
        process,
        address: 0x1000 + number * 64,
        id: format!("mutex:3f2a91c0:{number:#x}").into(),
        kind: Kind::Mutex,
        runtime: Some("glibc".into()),
        symbol: None,
        site: Some(format!("serve server.c:{number}").into()),
        waiters: number,
        waiters_peak: number,
        oldest_since_ns: Some(90_000_000_000),
        oldest_is_at_least: false,
        seen_ns: None,
        holder: None,
        abandoned: false,
        counts: Some(Box::new(Counts {
            outcomes: Outcomes {
                woken: number,
                ..Outcomes::default()
            },
            value_changed: 0,
            wakes: number,
            wait_ns: number * 1_000_000,
            wait_max_ns: 1_000_000,
            last_handoff_ns: None,
            histogram,
        })),
    }
}

/// An incident of process `pid`.
pub fn incident(pid: u32, text: &str) -> Incident {
    Incident {
        schema: SCHEMA.into(),
        key: format!("key-{pid}"),
        reason: Reason::Parked,
        status: Status::Open,
        opened_at: "2026-11-26T12:00:00.000Z".into(),
        refreshed_at: "2026-11-26T12:00:00.000Z".into(),
        resolved_at: None,
        pid,
        comm: format!("server-{pid}"),
        workload: Workload::default(),
        lock: None,
        who: Default::default(),
        waiters: 100,
        waiters_peak: 100,
        oldest_wait_ns: Some(5_000_000_000),
        oldest_is_at_least: false,
        text: text.into(),
        explanation: None,
        snapshots: Vec::new(),
        held_back: None,
    }
}

/// It opens.
pub fn opened(pid: u32, text: &str) -> Arc<Event> {
    Arc::new(Event {
        change: Change::Opened { again: false },
        incident: incident(pid, text),
    })
}
