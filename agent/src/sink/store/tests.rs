//! The store on real file systems: full, read-only, and with its writer killed.

mod mounts;

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use proptest::prelude::*;

use self::mounts::{Tmpfs, in_own_mounts};
use super::*;
use crate::sink::{Document, fixture};

/// A directory that is removed in the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("holdup-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn settings(directory: &Path) -> Settings {
    Settings {
        directory: directory.to_owned(),
        min_free_bytes: 0,
        ..Settings::default()
    }
}

/// One of about as many bytes.
fn bundle(bytes: usize) -> Bundle {
    let mut bundle = fixture::bundle();
    bundle.incident.text = "x".repeat(bytes);
    bundle
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn check_whole(store: &Store) -> usize {
    let entries = store.list().unwrap();
    for entry in &entries {
        let bytes = store.open(&entry.name).unwrap();
        assert_eq!(bytes.len() as u64, entry.bytes);
        let document = Document::parse(&bytes).unwrap();
        assert!(matches!(document, Document::Bundle(_)), "{document:?}");
    }
    entries.len()
}

#[test]
fn what_is_put_in_comes_out() {
    use std::os::unix::fs::MetadataExt as _;
    let directory = Directory::new("store-round");
    let path = directory.0.join("deep/down");
    let store = Store::new(settings(&path));
    assert_eq!(store.list().unwrap(), []);
    let bundle = fixture::bundle();
    let first = store.put(&bundle).unwrap();
    let second = store.put(&bundle).unwrap();
    assert_eq!(first, "20261121T120000.123Z-parked-confd-4242.json");
    assert_eq!(second, "20261121T120000.123Z-parked-confd-4242-1.json");
    assert_eq!(names(&path), [second.as_str(), first.as_str()]);
    let read = Document::parse(&store.open(&first).unwrap()).unwrap();
    assert_eq!(read, Document::Bundle(Box::new(bundle)));
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join(&first))), (0o700, 0o600));
    let expected = Stats {
        written: 2,
        ..Stats::default()
    };
    assert_eq!(store.stats(), expected);
}

#[test]
fn names_and_links_that_lead_elsewhere_are_refused() {
    let directory = Directory::new("store-names");
    let store = Store::new(settings(&directory.0));
    let link = "2-link.json";
    std::os::unix::fs::symlink("/etc/hostname", directory.0.join(link)).unwrap();
    for name in ["../../etc/passwd", "/etc/passwd", "open.json", ""] {
        assert!(matches!(store.open(name), Err(Error::Name)), "{name}");
    }
    assert!(matches!(store.open(link), Err(Error::Io { .. })));
    assert_eq!(store.list().unwrap(), [], "a link is none of ours");
}

#[test]
fn what_a_crash_left_is_removed_and_nothing_else() {
    let directory = Directory::new("store-leftovers");
    let left = [".2026-a.json.tmp", ".open.json.tmp"];
    let others = [
        ".2026-a.json",
        ".tmp",
        "2026-a.json.tmp",
        "notes.txt",
        ".x.tmp",
    ];
    for name in left.iter().chain(&others) {
        fs::write(directory.0.join(name), "x").unwrap();
    }
    let store = Store::new(settings(&directory.0));
    let mut expected = others.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(names(&directory.0), expected);
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn open_incidents_are_remembered() {
    let directory = Directory::new("store-open");
    let store = Store::new(settings(&directory.0));
    assert_eq!(store.load_open().unwrap(), [], "never remembered");
    let incidents = vec![fixture::bundle().incident; 3];
    store.save_open(&incidents).unwrap();
    assert_eq!(
        Store::new(settings(&directory.0)).load_open().unwrap(),
        incidents
    );
    store.save_open(&[]).unwrap();
    assert_eq!(store.load_open().unwrap(), []);
    assert_eq!(names(&directory.0), ["open.json"]);
    for nonsense in ["", "{}", "[]", r#"{"schema":"x","incidents":[]}"#, "\0"] {
        fs::write(directory.0.join("open.json"), nonsense).unwrap();
        assert!(
            matches!(store.load_open(), Err(Error::Open(_))),
            "{nonsense}"
        );
    }
}

#[test]
fn one_that_is_too_large_is_not_kept() {
    let directory = Directory::new("store-large");
    let store = Store::new(Settings {
        max_bytes: 1 << 20,
        ..settings(&directory.0)
    });
    let kept = store.put(&bundle(1000)).unwrap();
    let error = store.put(&bundle(2 << 20)).unwrap_err();
    assert_eq!(error.reason(), "too_large");
    assert_eq!(names(&directory.0), [kept], "and nothing went for it");
    assert_eq!((store.stats().written, store.stats().failed), (1, 1));
}

#[test]
fn what_is_too_old_goes_without_an_incident() {
    let directory = Directory::new("store-sweep");
    let store = Store::new(settings(&directory.0));
    let (old, young) = (
        store.put(&bundle(1)).unwrap(),
        store.put(&bundle(1)).unwrap(),
    );
    store.sweep().unwrap();
    assert_eq!(store.stats().removed, 0);
    let file = File::options().write(true).open(directory.0.join(&old));
    let age = settings(&directory.0).max_age + Duration::from_secs(60);
    file.unwrap().set_modified(SystemTime::now() - age).unwrap();
    store.sweep().unwrap();
    assert_eq!(names(&directory.0), [young]);
    assert_eq!(store.stats().removed, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The newest is there, and what is there fits.
    #[test]
    fn retention_never_takes_the_newest(
        sizes in prop::collection::vec(0_usize..400_000, 1..12),
        max_count in 1_usize..6,
    ) {
        let directory = Directory::new("store-retention");
        let store = Store::new(Settings {
            max_count,
            max_bytes: 1 << 20,
            ..settings(&directory.0)
        });
        for size in sizes {
            let name = store.put(&bundle(size)).unwrap();
            let entries = store.list().unwrap();
            prop_assert!(entries.iter().any(|entry| entry.name == name));
            prop_assert!(entries.len() <= max_count);
            prop_assert!(entries.iter().map(|entry| entry.bytes).sum::<u64>() <= 1 << 20);
        }
        let stats = store.stats();
        prop_assert_eq!(stats.written - stats.removed, store.list().unwrap().len() as u64);
    }
}

/// Run by the next test in a process of its own, which it kills.
#[test]
#[ignore = "is the writer that another test kills"]
fn writer_to_be_killed() {
    let directory = std::env::var_os("HOLDUP_STORE").expect("run by another test");
    let store = Store::new(settings(Path::new(&directory)));
    let incidents = vec![fixture::bundle().incident; 50];
    for round in 0.. {
        store.put(&bundle(round % 7 * 50_000)).unwrap();
        store.save_open(&incidents[..round % 50]).unwrap();
    }
}

#[test]
fn a_writer_that_is_killed_leaves_whole_files_only() {
    let directory = Directory::new("store-killed");
    let mut leftovers = 0;
    for round in 0..20_u64 {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "sink::store::tests::writer_to_be_killed",
                "--exact",
                "--ignored",
            ])
            .env("HOLDUP_STORE", &directory.0)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // SAFETY: prctl touches nothing that the child shares.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let before = names(&directory.0).len();
        let mut child = command.spawn().unwrap();
        // It is at work.
        while names(&directory.0).len() < before + 2 {
            assert_eq!(child.try_wait().unwrap(), None, "the writer failed");
            std::thread::sleep(Duration::from_millis(1));
        }
        // At another point of its work each time.
        std::thread::sleep(Duration::from_micros(round * 377));
        child.kill().unwrap();
        child.wait().unwrap();
        let is_temporary = |name: &&String| name.starts_with('.');
        leftovers += names(&directory.0).iter().filter(is_temporary).count();
        let store = Store::new(settings(&directory.0));
        assert!(check_whole(&store) > 0);
        store.load_open().unwrap();
        assert_eq!(names(&directory.0).iter().filter(is_temporary).count(), 0);
    }
    assert!(
        leftovers > 0,
        "it was never killed while it wrote: the test proves nothing"
    );
}

#[test]
fn a_full_disk_is_an_error_of_that_bundle_alone() {
    in_own_mounts(|| {
        let tmpfs = Tmpfs::mount("full", 512);
        let store = Store::new(settings(&tmpfs.path));
        let kept = store.put(&bundle(100_000)).unwrap();
        // What is asked for first.
        let error = store.put(&bundle(900_000)).unwrap_err();
        assert_eq!(error.reason(), "full");
        assert_eq!(names(&tmpfs.path), [kept.as_str()], "nothing went in vain");
        // What the disk itself says, when somebody was faster.
        let error = file::replace(&tmpfs.path, &kept, &vec![0; 900_000]).unwrap_err();
        assert_eq!(error.reason(), "full");
        assert_eq!(check_whole(&store), 1);
        assert_eq!(names(&tmpfs.path).len(), 1, "no temporary file");
        let stats = store.stats();
        assert_eq!((stats.written, stats.failed, stats.removed), (1, 1, 0));
    });
}

#[test]
fn the_floor_stays_free() {
    in_own_mounts(|| {
        let tmpfs = Tmpfs::mount("floor", 2048);
        let floor = 1 << 20;
        let store = Store::new(Settings {
            min_free_bytes: floor,
            ..settings(&tmpfs.path)
        });
        for _ in 0..12 {
            let name = store.put(&bundle(250_000)).unwrap();
            assert!(file::free_bytes(&tmpfs.path).unwrap() >= floor);
            assert_eq!(store.list().unwrap().last().unwrap().name, name);
        }
        assert_eq!(check_whole(&store), 3);
        // Somebody else takes the space: all of ours would not be enough.
        fs::write(tmpfs.path.join("theirs"), vec![1; 1_200_000]).unwrap();
        let error = store.put(&bundle(250_000)).unwrap_err();
        assert!(matches!(error, Error::NoSpace { .. }), "{error}");
        assert_eq!(check_whole(&store), 3, "nothing went in vain");
    });
}

#[test]
fn a_directory_that_is_read_only_is_tried_again() {
    in_own_mounts(|| {
        let tmpfs = Tmpfs::mount("read-only", 2048);
        let store = Store::new(settings(&tmpfs.path.join("snapshots")));
        store.put(&bundle(10)).unwrap();
        tmpfs.set_read_only(true);
        for _ in 0..2 {
            assert_eq!(store.put(&bundle(10)).unwrap_err().reason(), "read_only");
            assert_eq!(store.save_open(&[]).unwrap_err().reason(), "read_only");
        }
        assert_eq!(check_whole(&store), 1);
        // Not even the directory can be made.
        let other = Store::new(settings(&tmpfs.path.join("others")));
        assert_eq!(other.put(&bundle(10)).unwrap_err().reason(), "read_only");
        tmpfs.set_read_only(false);
        store.put(&bundle(10)).unwrap();
        other.put(&bundle(10)).unwrap();
        assert_eq!((store.stats().written, store.stats().failed), (2, 2));
    });
}
