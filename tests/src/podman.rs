//! Containers, as the manifest for Kubernetes wants them: podman with a storage of its own, which goes when the test does.

use std::{
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{child, scratch::Scratch, toolchain::run};

/// Limits that are no higher than those of a host without `CAP_SYS_RESOURCE`, the runtime that copes with hybrid control
/// groups, and groups that are made without systemd.
const CONFIGURATION: &str = "[containers]\n\
    default_ulimits = [\"nofile=16384:16384\", \"nproc=16384:16384\"]\n\
    [engine]\n\
    runtime = \"runc\"\n\
    cgroup_manager = \"cgroupfs\"\n\
    events_logger = \"none\"\n";

/// Name of the image.
const IMAGE: &str = "holdup";

/// Where the kubelet's cgroupfs driver has the pods: the agent's is burstable, the other one asks for nothing.
const AGENT_GROUPS: &str = "kubepods/burstable";
const PROGRAM_GROUPS: &str = "kubepods/besteffort";

/// podman, and the control groups of two pods.
#[derive(Debug)]
pub struct Podman {
    scratch: Scratch,
    /// `kubepods/CLASS/podUID`
    agent_group: PathBuf,
    program_group: PathBuf,
    pod_uid: String,
}

impl Podman {
    /// Makes the storage and builds the image from `containerfile` and the statically linked `binary`.
    ///
    /// # Errors
    /// When podman is missing or fails.
    pub fn with_image(containerfile: &Path, binary: &Path) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let uid = |kind: u32| format!("{:08x}-0000-4000-{kind}-{count:012x}", process::id());
        let podman = Self {
            scratch: Scratch::new()?,
            agent_group: Path::new(AGENT_GROUPS).join(format!("pod{}", uid(8000))),
            program_group: Path::new(PROGRAM_GROUPS).join(format!("pod{}", uid(9000))),
            pod_uid: uid(9000),
        };
        fs::write(podman.scratch.join("containers.conf"), CONFIGURATION)?;
        let context = podman.folder("context")?;
        fs::copy(binary, context.join("holdup"))?;
        fs::copy(containerfile, context.join("Containerfile"))?;
        let mut build = podman.command();
        build.args(["build", "--quiet", "--network", "none", "--tag", IMAGE]);
        run(build.arg(context))?;
        Ok(podman)
    }

    /// Uid of the pod that [`Self::run_program`] runs in.
    #[must_use]
    pub fn pod_uid(&self) -> &str {
        &self.pod_uid
    }

    /// A folder of ours, empty when first asked for.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.scratch.join(name);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(folder)
    }

    /// Runs the image with `arguments` as the first container of `pod` (a pod's specification) would be. Its host paths
    /// under `/sys` are the host's, other volumes are [`Self::folder`]s of the volumes' names.
    ///
    /// # Errors
    /// When the specification lacks what it must have.
    pub fn run(&self, pod: &Value, options: &[&str], arguments: &[&str]) -> Result<Command> {
        let mut command = self.container(&self.agent_group);
        command.arg("--read-only-tmpfs=false");
        command.args(self.flags(pod)?).args(options);
        command.arg(IMAGE).args(arguments).stdin(Stdio::null());
        Ok(command)
    }

    /// Runs another, statically linked program in another pod, as a child that can be talked to. It sees its own process
    /// id as everybody does.
    #[must_use]
    pub fn run_program(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = self.container(&self.program_group);
        command.args(["--interactive", "--pid=host", "--network=none"]);
        command.arg(format!("--volume={}:/program:ro", program.display()));
        command
            .args(["--entrypoint=/program", IMAGE])
            .args(arguments);
        command
    }

    fn container(&self, group: &Path) -> Command {
        let mut command = self.command();
        command.args(["run", "--rm", "--quiet"]);
        command.arg(format!("--cgroup-parent=/{}", group.display()));
        command
    }

    /// What a container runtime is told by the kubelet.
    fn flags(&self, pod: &Value) -> Result<Vec<String>> {
        let container = &pod["containers"][0];
        let security = &container["securityContext"];
        let mut flags = vec![format!(
            "--user={}:{}",
            security["runAsUser"], security["runAsGroup"]
        )];
        let switches = [
            (&pod["hostPID"], true, "--pid=host"),
            (&security["privileged"], true, "--privileged"),
            (&security["readOnlyRootFilesystem"], true, "--read-only"),
            (
                &security["allowPrivilegeEscalation"],
                false,
                "--security-opt=no-new-privileges",
            ),
        ];
        for (value, wanted, flag) in switches {
            if value.as_bool() == Some(wanted) {
                flags.push(flag.to_owned());
            }
        }
        if security["seccompProfile"]["type"] == "Unconfined" {
            flags.push("--security-opt=seccomp=unconfined".to_owned());
        }
        for (list, flag) in [("drop", "--cap-drop"), ("add", "--cap-add")] {
            for name in strings(&security["capabilities"][list]) {
                flags.push(format!("{flag}={name}"));
            }
        }
        let memory = container["resources"]["limits"]["memory"].as_str();
        let memory = memory.and_then(|text| text.strip_suffix("Mi"));
        flags.push(format!("--memory={}m", memory.context("no limit in MiB")?));
        for mount in container["volumeMounts"].as_array().context("no mounts")? {
            let name = mount["name"].as_str().context("a mount without a name")?;
            let source = match host_path(pod, name) {
                Some(path) if path.starts_with("/sys/") => path.into(),
                _ => self.folder(name)?,
            };
            let path = mount["mountPath"].as_str().context("a mount of nowhere")?;
            let options = if mount["readOnly"] == true {
                "ro"
            } else {
                "rw"
            };
            flags.push(format!("--volume={}:{path}:{options}", source.display()));
        }
        Ok(flags)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        for (option, folder) in [
            ("--root", "root"),
            ("--runroot", "run"),
            ("--tmpdir", "tmp"),
        ] {
            command.arg(option).arg(self.scratch.join(folder));
        }
        command.env("CONTAINERS_CONF", self.scratch.join("containers.conf"));
        command
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let mut remove = self.command();
        let _ = run(remove.args(["rm", "--all", "--force", "--time", "0"]));
        // Somebody who was told that a container is gone may still be cleaning up after it.
        let started = Instant::now();
        while is_in_use(self.scratch.path()) && started.elapsed() < child::DEADLINE {
            thread::sleep(Duration::from_millis(20));
        }
        // podman mounts the folder onto itself, and whoever came last may have been killed.
        let overlay = self.scratch.join("root/overlay");
        let _ = Command::new("umount").arg("--quiet").arg(overlay).status();
        remove_groups(&[&self.agent_group, &self.program_group]);
    }
}

/// Whether a process has this path among its arguments.
fn is_in_use(path: &Path) -> bool {
    let path = path.as_os_str().as_bytes();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .any(|arguments| arguments.windows(path.len()).any(|part| part == path))
}

/// Removes what containers left in every hierarchy. The kubelet's own groups stay when somebody else is in them.
fn remove_groups(pods: &[&Path]) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let fields = mounts.lines().map(|line| line.split(' '));
    let points = fields.filter_map(|mut fields| {
        let point = fields.nth(1)?;
        fields.next()?.starts_with("cgroup").then_some(point)
    });
    for pod in points.flat_map(|point| pods.iter().map(move |pod| Path::new(point).join(pod))) {
        for entry in fs::read_dir(&pod).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(entry.path());
        }
        for group in pod.ancestors().take(3) {
            let _ = fs::remove_dir(group);
        }
    }
}

/// Where on the host a volume is.
fn host_path<'a>(pod: &'a Value, name: &str) -> Option<&'a str> {
    let volumes = pod["volumes"].as_array()?;
    let volume = volumes.iter().find(|volume| volume["name"] == name)?;
    volume["hostPath"]["path"].as_str()
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}
