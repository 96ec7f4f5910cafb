//! `/proc/PID/cgroup` and where the unified hierarchy (cgroup v2) is mounted.

use std::path::{Path, PathBuf};

/// Most lines read: there are 13 hierarchies at most on any machine seen, named ones aside.
const MAX_LINES: usize = 64;

/// A process's place in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Controllers of a v1 hierarchy, e.g. `cpu,cpuacct` or `name=systemd`; empty for v2.
    pub controllers: String,
    /// Path below the root of the hierarchy.
    pub path: String,
}

impl Membership {
    /// Whether this is the unified hierarchy.
    #[must_use]
    pub fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }
}

/// Parses `/proc/PID/cgroup`; lines that are none are skipped.
#[must_use]
pub fn parse(text: &str) -> Vec<Membership> {
    text.lines()
        .take(MAX_LINES)
        .filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            path.starts_with('/').then(|| Membership {
                controllers: controllers.to_owned(),
                path: path.to_owned(),
            })
        })
        .collect()
}

/// The path that says most: that of a container, which older runtimes on hybrid hosts put into v1 alone; else v2's, unless
/// it is the root while a v1 hierarchy knows better.
#[must_use]
pub fn main(memberships: &[Membership]) -> Option<&str> {
    let deepest = |wanted: &dyn Fn(&Membership) -> bool| {
        memberships
            .iter()
            .filter(|membership| wanted(membership))
            .max_by_key(|membership| (membership.is_v2(), membership.path.len()))
    };
    deepest(&|membership| containers(&membership.path).next().is_some())
        .or_else(|| deepest(&|membership| membership.path != "/"))
        .or_else(|| deepest(&|_| true))
        .map(|membership| membership.path.as_str())
}

/// Whether `path` is `parent` or below it.
#[must_use]
pub fn is_within(path: &str, parent: &str) -> bool {
    Path::new(path).starts_with(parent)
}

/// Digits of a container's id: SHA-256 or as many random ones, with every runtime that has ids in its paths.
const ID_DIGITS: usize = 64;

/// What runtimes put before the id in the name of a group.
const NAMES: &[(&str, &str)] = &[
    ("cri-containerd", "containerd"),
    ("nerdctl", "containerd"),
    ("crio", "cri-o"),
    ("docker", "docker"),
    ("libpod", "podman"),
    ("libpod-payload", "podman"),
];

/// Groups that hold nothing but one runtime's containers, which have their bare id as name there.
const FOLDERS: &[(&str, &str)] = &[("docker", "docker"), ("k8s.io", "containerd")];

/// A container's own control group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Container {
    /// The whole id.
    pub id: String,
    /// Path below the root of the hierarchy.
    pub path: String,
    /// `containerd`, `cri-o`, `docker` or `podman`, where the names of the groups tell.
    pub runtime: Option<&'static str>,
}

/// The container in `path` whose id begins with `prefix`.
#[must_use]
pub fn container(path: &str, prefix: &str) -> Option<Container> {
    containers(path).find(|container| container.id.starts_with(prefix))
}

/// The containers that `path` leads into, outermost first, as the runtimes name their groups: `docker-ID.scope`,
/// `cri-containerd-ID.scope`, `crio-ID`, `/docker/ID`, `libpod-ID`.
pub fn containers(path: &str) -> impl Iterator<Item = Container> + '_ {
    let (mut end, mut part_before) = (0, "");
    path.split('/').filter_map(move |part| {
        let folder = std::mem::replace(&mut part_before, part);
        end += part.len();
        let container = named(part, folder).and_then(|(id, runtime)| {
            Some(Container {
                id: id.to_owned(),
                path: path.get(..end)?.to_owned(),
                runtime,
            })
        });
        end += 1;
        container
    })
}

/// Splits the name of a group into what stands before a container's id, and the id.
#[must_use]
pub fn split_id(name: &str) -> Option<(&str, &str)> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    // A colon: containerd took the systemd driver's name for a group but not the driver (`SLICE:cri-containerd:ID`).
    let (before, id) = name.rsplit_once(['-', ':']).unwrap_or(("", name));
    let is_id = id.len() == ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some((before, id))
}

fn named<'a>(part: &'a str, folder: &str) -> Option<(&'a str, Option<&'static str>)> {
    let (before, id) = split_id(part)?;
    // Monitor processes (`crio-conmon-ID.scope`) carry the id of a container they are not in.
    if before.ends_with("conmon") {
        return None;
    }
    let (name, table) = match before.rsplit(':').next() {
        Some(name) if !name.is_empty() => (name, NAMES),
        _ => (folder, FOLDERS),
    };
    let runtime = table.iter().find(|(known, _)| *known == name);
    Some((id, runtime.map(|(_, runtime)| *runtime)))
}

/// A mount of a hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Which part of the hierarchy is: `/` for the whole of it.
    pub root: String,
    /// Whether it is the unified hierarchy.
    pub is_v2: bool,
}

/// Finds the hierarchies in `/proc/self/mountinfo`.
pub fn mounts(mountinfo: &str) -> impl Iterator<Item = Mount> + '_ {
    mountinfo.lines().filter_map(|line| {
        // "31 23 0:28 ROOT POINT OPTIONS [TAGS...] - TYPE SOURCE OPTIONS"
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next()?, before.next()?);
        let is_v2 = match after.split(' ').next()? {
            "cgroup" => false,
            "cgroup2" => true,
            _ => return None,
        };
        Some(Mount {
            point: unescape(point).into(),
            root: unescape(root),
            is_v2,
        })
    })
}

/// The mount that shows most of the unified hierarchy.
#[must_use]
pub fn v2_mount(mountinfo: &str) -> Option<Mount> {
    mounts(mountinfo)
        .filter(|mount| mount.is_v2)
        .min_by_key(|mount| mount.root.len())
}

/// Undoes the octal escapes of mountinfo (`\040` for a space).
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = |digits: &[u8]| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        };
        match tail.get(..3).and_then(octal) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn hybrid_hosts_have_both() {
        let memberships =
            parse("4:memory:/docker/1\n1:name=systemd:/init\n0::/\nnonsense\n3:x:relative\n");
        assert_eq!(memberships.len(), 3);
        assert!(memberships[2].is_v2());
        assert_eq!(main(&memberships), Some("/docker/1"));
        assert_eq!(main(&parse("0::/a:b\n")), Some("/a:b"));
        assert_eq!(main(&parse("0::/\n")), Some("/"));
        assert_eq!(main(&[]), None);
    }

    #[test]
    fn a_container_in_v1_alone_says_more_than_its_runtime_in_v2() {
        let text = format!("4:memory:/docker/{ID}\n3:cpu:/\n0::/system.slice/docker.service\n");
        assert_eq!(main(&parse(&text)), Some(&*format!("/docker/{ID}")));
        let both = format!("{text}0::/system.slice/docker-{ID}.scope\n");
        let v2 = format!("/system.slice/docker-{ID}.scope");
        assert_eq!(main(&parse(&both)), Some(&*v2));
    }

    #[test]
    fn containers_of_each_runtime() {
        for (path, found) in [
            (format!("/system.slice/docker-{ID}.scope"), true),
            (format!("/docker/{ID}/inner"), true),
            (
                format!("/kubepods.slice/pod1/cri-containerd-{ID}.scope"),
                true,
            ),
            (format!("/kubepods/besteffort/pod1/{ID}"), true),
            (format!("/machine.slice/libpod-{ID}.scope/container"), true),
            (format!("/machine.slice/libpod-conmon-{ID}.scope"), false),
            ("/system.slice/01234567.service".to_owned(), false),
            // The end of a pod's uid, and of the uuid of a terminal's scope.
            (
                "/kubepods/pod01234567-89ab-cdef-0123-456789abcdef".to_owned(),
                false,
            ),
            (
                "/user.slice/vte-spawn-01234567-89ab-cdef-0123-0123456789ab.scope".to_owned(),
                false,
            ),
            ("/".to_owned(), false),
        ] {
            let group = container(&path, "01234567");
            assert_eq!(group.is_some(), found, "{path}");
            assert!(group.is_none_or(|group| group.id == ID && path.starts_with(&group.path)));
        }
        let inner = container(&format!("/docker/{ID}/inner"), ID).unwrap();
        assert_eq!(inner.path, format!("/docker/{ID}"));
        assert_eq!(container(&format!("/docker/{ID}"), "1234567"), None);
    }

    #[test]
    fn a_hybrid_host_has_many_mounts() {
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      36 31 0:33 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n\
                      40 31 0:38 /pod /mnt rw shared:1 - cgroup2 cgroup2 rw\n\
                      41 31 0:38 / /sys/fs/cgroup/un\\040ified rw shared:9 - cgroup2 cgroup2 rw\n";
        let mount = v2_mount(hybrid).unwrap();
        assert_eq!(mount.point, Path::new("/sys/fs/cgroup/un ified"));
        assert_eq!(mount.root, "/");
        let points: Vec<_> = mounts(hybrid).map(|mount| mount.point).collect();
        assert_eq!(points.len(), 3);
        assert_eq!(points[0], Path::new("/sys/fs/cgroup/devices"));
        assert_eq!(
            v2_mount("36 31 0:33 / /sys/fs/cgroup rw - cgroup cgroup rw"),
            None
        );
        assert_eq!(v2_mount(" - cgroup2"), None);
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape("a\\040b\\134"), "a b\\");
        assert_eq!(unescape("\\04"), "\\04");
        assert_eq!(unescape("\\999é"), "\\999é");
    }

    #[test]
    fn within_is_by_part_not_by_letter() {
        assert!(is_within("/a/b", "/a"));
        assert!(is_within("/a", "/a"));
        assert!(!is_within("/ab", "/a"));
    }
}
