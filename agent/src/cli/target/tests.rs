use std::{
    fs,
    process::{Child, Command, Stdio},
};

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OTHER_ID: &str = "0123456799abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A proc file system made of plain files.
struct Fake(PathBuf);

impl Fake {
    fn new(name: &str) -> Self {
        let root =
            std::env::temp_dir().join(format!("holdup-target-{name}-{}", std::process::id()));
        fs::create_dir_all(root.join("self")).unwrap();
        Self(root)
    }

    fn process(&self, pid: u32, comm: &str, cgroup: &str) -> &Self {
        let directory = self.0.join(pid.to_string());
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("comm"), format!("{comm}\n")).unwrap();
        fs::write(directory.join("cgroup"), cgroup).unwrap();
        fs::write(
            directory.join("status"),
            format!("Name:\t{comm}\nTgid:\t{pid}\n"),
        )
        .unwrap();
        let stat = format!("{pid} ({comm}) S 1 7 7 0 -1 0 5 0 0 0 1 2 0 0 20 0 1 0 4711 0 0");
        self.stat(pid, &stat);
        self
    }

    fn stat(&self, pid: u32, text: &str) {
        let directory = self.0.join(format!("{pid}/task/{pid}"));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("stat"), text).unwrap();
    }

    /// Mounts the "unified hierarchy" of this many directories below the fake root.
    fn unified(&self, root: &str, directories: &str) -> PathBuf {
        let point = self.0.join("unified");
        fs::create_dir_all(point.join(directories)).unwrap();
        let line = format!(
            "41 31 0:38 {root} {} rw - cgroup2 cgroup2 rw\n",
            point.display()
        );
        fs::write(self.0.join("self/mountinfo"), line).unwrap();
        point
    }

    fn resolve(&self, spec: &TargetSpec) -> Result<Target, Error> {
        resolve(spec, &Proc::at(&self.0))
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that does nothing until it is dropped.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Self {
        let child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn();
        Self(child.unwrap())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pids(pids: &[u32]) -> TargetSpec {
    TargetSpec::Pids(pids.to_vec())
}

#[test]
fn live_processes_are_found_by_id_and_name() {
    let sleeper = Sleeper::new();
    let pid = sleeper.0.id();
    let proc = Proc::default();
    assert_eq!(
        resolve(&pids(&[pid]), &proc),
        Ok(Target::Processes(vec![pid]))
    );
    // The name changes when the child executes its program, shortly after it was started.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while proc.comm(pid).as_deref() != Some("sleep") {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    let Ok(Target::Comm { name, pids }) = resolve(&TargetSpec::Comm("sleep".to_owned()), &proc)
    else {
        panic!("not found");
    };
    assert_eq!(name, "sleep");
    assert!(pids.contains(&pid));
}

#[test]
fn ids_that_are_no_processes() {
    let proc = Proc::default();
    assert_eq!(
        resolve(&pids(&[4_194_305]), &proc),
        Err(Error::NoSuchProcess(4_194_305))
    );
    let own = std::process::id();
    assert_eq!(resolve(&pids(&[own]), &proc), Err(Error::IsSelf(own)));
    // A thread of this test: those of others may end at any time.
    let (send, receive) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        // SAFETY: no arguments, always succeeds.
        tell.send(unsafe { libc::gettid() }).unwrap();
        receive.recv()
    });
    let tid = u32::try_from(told.recv().unwrap()).unwrap();
    let error = resolve(&pids(&[tid]), &proc).unwrap_err();
    assert!(
        matches!(&error, Error::IsThread { tgid, .. } if *tgid == own),
        "{error}"
    );
    assert_eq!(
        exit::Error::from(error).hint,
        Some(format!("pass -p {own}"))
    );
    drop(send);
    thread.join().unwrap().unwrap_err();
}

#[test]
fn the_dead_and_the_kernel() {
    let proc = Proc::default();
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while proc.stat(pid).unwrap().state != b'Z' {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert!(matches!(
        resolve(&pids(&[pid]), &proc),
        Err(Error::IsZombie { .. })
    ));
    child.wait().unwrap();
    let fake = Fake::new("kernel");
    fake.process(2, "kthreadd", "0::/\n");
    let stat = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 1 0 0";
    fake.stat(2, stat);
    let error = fake.resolve(&pids(&[2])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "2 (kthreadd) is a kernel thread and has no locks of its own"
    );
}

#[test]
fn long_names_are_cut_as_the_kernel_cuts_them() {
    let fake = Fake::new("comm");
    fake.process(10, "a-very-long-nam", "0::/\n")
        .process(11, "other", "0::/\n");
    let spec = TargetSpec::Comm("a-very-long-name-indeed".to_owned());
    let expected = Target::Comm {
        name: "a-very-long-nam".to_owned(),
        pids: vec![10],
    };
    assert_eq!(fake.resolve(&spec), Ok(expected));
    let error = fake
        .resolve(&TargetSpec::Comm("othe".to_owned()))
        .unwrap_err();
    assert_eq!(error.to_string(), "no process is named \"othe\"");
}

#[test]
fn groups_by_directory_and_by_path() {
    let fake = Fake::new("groups");
    let point = fake.unified("/", "system.slice/db.service");
    let directory = point.join("system.slice/db.service");
    let expected = Ok(Target::Cgroup {
        path: directory.clone(),
        id: fs::metadata(&directory).unwrap().ino(),
        level: 2,
    });
    assert_eq!(fake.resolve(&TargetSpec::Cgroup(directory)), expected);
    let relative = TargetSpec::Cgroup("/system.slice/db.service".into());
    assert_eq!(fake.resolve(&relative), expected);
    let trailing = TargetSpec::Cgroup("system.slice/db.service/".into());
    assert!(fake.resolve(&trailing).is_ok());
    let Ok(Target::Cgroup { level: 0, .. }) = fake.resolve(&TargetSpec::Cgroup(point)) else {
        panic!("the root is not at level 0");
    };
    let missing = fake.resolve(&TargetSpec::Cgroup("/system.slice/web".into()));
    assert_eq!(
        missing,
        Err(Error::NoSuchCgroup("/system.slice/web".to_owned()))
    );
}

#[test]
fn a_partial_mount_adds_its_depth() {
    let fake = Fake::new("partial");
    fake.unified("/kubepods/pod1", "inner");
    let target = fake.resolve(&TargetSpec::Cgroup("/inner".into()));
    assert!(
        matches!(target, Ok(Target::Cgroup { level: 3, .. })),
        "{target:?}"
    );
}

#[test]
fn groups_without_the_unified_hierarchy_are_lists_of_processes() {
    let fake = Fake::new("v1");
    fake.process(10, "a", "4:memory:/web/1\n")
        .process(11, "b", "4:memory:/web\n")
        .process(12, "c", "4:memory:/website\n");
    let target = fake.resolve(&TargetSpec::Cgroup("/web".into()));
    assert_eq!(target, Ok(Target::Processes(vec![10, 11])));
}

#[test]
fn containers() {
    let fake = Fake::new("containers");
    let scope = format!("system.slice/docker-{ID}.scope");
    fake.process(10, "a", &format!("0::/{scope}/inner\n"))
        .process(11, "b", &format!("4:memory:/docker/{OTHER_ID}\n0::/\n"))
        .process(12, "c", "0::/system.slice/012345678.service\n");
    let point = fake.unified("/", &format!("{scope}/inner"));
    let resolve = |prefix: &str| fake.resolve(&TargetSpec::Container(prefix.to_owned()));

    let Ok(Target::Cgroup { path, level, .. }) = resolve("012345678") else {
        panic!("not a group");
    };
    assert_eq!((path, level), (point.join(&scope), 2));
    assert_eq!(resolve("012345679"), Ok(Target::Processes(vec![11])));
    let error = resolve("01234567").unwrap_err();
    assert!(
        matches!(error, Error::AmbiguousContainer { count: 2, .. }),
        "{error}"
    );
    let error = resolve("ffffffff").unwrap_err();
    assert_eq!(
        error.to_string(),
        "no running container has an id that begins with ffffffff"
    );
}
