//! Paths as each runtime and driver spells them, and as nobody should.

use proptest::prelude::*;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const INNER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const UID: &str = "ea5d1a2a-0f5e-4b3c-9d5e-1234567890ab";
const UID_: &str = "ea5d1a2a_0f5e_4b3c_9d5e_1234567890ab";
const HASH: &str = "5a1b2c3d4e5f60718293a4b5c6d7e8f9";

/// Path with `ID`, `INNER`, `UID`, `UID_` and `HASH` in it; container, runtime, pod uid, QoS class, unit, `-` for none.
const PATHS: &[(&str, [&str; 5])] = &[
    // Kubernetes, systemd driver.
    (
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope",
        ["{ID}", "containerd", "{UID}", "burstable", "-"],
    ),
    (
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice/crio-{ID}.scope",
        ["{ID}", "cri-o", "{UID}", "besteffort", "-"],
    ),
    (
        "/kubepods.slice/kubepods-pod{UID_}.slice/crio-{ID}.scope/container",
        ["{ID}", "cri-o", "{UID}", "guaranteed", "-"],
    ),
    (
        "/kubepods.slice/kubepods-pod{UID_}.slice/docker-{ID}.scope",
        ["{ID}", "docker", "{UID}", "guaranteed", "-"],
    ),
    // A static pod.
    (
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{HASH}.slice/cri-containerd-{ID}.scope",
        ["{ID}", "containerd", "{HASH}", "burstable", "-"],
    ),
    // The kubelet uses the systemd driver and containerd does not.
    (
        "/system.slice/containerd.service/kubepods-burstable-pod{UID_}.slice:cri-containerd:{ID}",
        [
            "{ID}",
            "containerd",
            "{UID}",
            "burstable",
            "containerd.service",
        ],
    ),
    // kind: the node is a container itself.
    (
        "/system.slice/docker-{ID}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UID_}.slice/cri-containerd-{INNER}.scope",
        ["{INNER}", "containerd", "{UID}", "guaranteed", "-"],
    ),
    (
        "/docker/{ID}/kubelet/kubepods/besteffort/pod{UID}/{INNER}",
        ["{INNER}", "-", "{UID}", "besteffort", "-"],
    ),
    // Kubernetes, cgroupfs driver.
    (
        "/kubepods/burstable/pod{UID}/{ID}",
        ["{ID}", "-", "{UID}", "burstable", "-"],
    ),
    (
        "/kubepods/pod{UID}/{ID}",
        ["{ID}", "-", "{UID}", "guaranteed", "-"],
    ),
    (
        "/kubepods/besteffort/pod{HASH}/crio-{ID}",
        ["{ID}", "cri-o", "{HASH}", "besteffort", "-"],
    ),
    (
        "/kubepods/burstable/pod{UID}/libpod-{ID}",
        ["{ID}", "podman", "{UID}", "burstable", "-"],
    ),
    // A container that was started inside of a pod.
    (
        "/kubepods/burstable/pod{UID}/{ID}/docker/{INNER}",
        ["{INNER}", "docker", "{UID}", "burstable", "-"],
    ),
    // The pod itself.
    (
        "/kubepods/burstable/pod{UID}",
        ["-", "-", "{UID}", "burstable", "-"],
    ),
    // From within the cgroup namespace of a pod: what both have in common is not to be seen.
    (
        "/../../kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope",
        ["{ID}", "containerd", "{UID}", "burstable", "-"],
    ),
    (
        "/../../../kubepods-pod{UID_}.slice/crio-{ID}.scope",
        ["{ID}", "cri-o", "{UID}", "guaranteed", "-"],
    ),
    ("/../../pod{UID}/{ID}", ["{ID}", "-", "{UID}", "-", "-"]),
    (
        "/../../../besteffort/pod{UID}/{ID}",
        ["{ID}", "-", "{UID}", "besteffort", "-"],
    ),
    (
        "/../../../../system.slice/nginx.service",
        ["-", "-", "-", "-", "nginx.service"],
    ),
    // Docker.
    (
        "/system.slice/docker-{ID}.scope",
        ["{ID}", "docker", "-", "-", "-"],
    ),
    (
        "/system.slice/docker-{ID}.scope/system.slice/nginx.service",
        ["{ID}", "docker", "-", "-", "nginx.service"],
    ),
    ("/docker/{ID}", ["{ID}", "docker", "-", "-", "-"]),
    (
        "/docker/{ID}/init.scope",
        ["{ID}", "docker", "-", "-", "init.scope"],
    ),
    (
        "/user.slice/user-1000.slice/user@1000.service/app.slice/docker-{ID}.scope",
        ["{ID}", "docker", "-", "-", "user@1000.service"],
    ),
    // Podman.
    (
        "/machine.slice/libpod-{ID}.scope",
        ["{ID}", "podman", "-", "-", "-"],
    ),
    (
        "/machine.slice/machine-libpod_pod_{INNER}.slice/libpod-{ID}.scope/container",
        ["{ID}", "podman", "-", "-", "-"],
    ),
    (
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container",
        ["{ID}", "podman", "-", "-", "user@1000.service"],
    ),
    (
        "/libpod_parent/libpod-{ID}",
        ["{ID}", "podman", "-", "-", "-"],
    ),
    (
        "/system.slice/web.service/libpod-payload-{ID}",
        ["{ID}", "podman", "-", "-", "web.service"],
    ),
    (
        "/machine.slice/libpod-conmon-{ID}.scope",
        ["-", "-", "-", "-", "-"],
    ),
    // containerd alone.
    (
        "/system.slice/nerdctl-{ID}.scope",
        ["{ID}", "containerd", "-", "-", "-"],
    ),
    ("/k8s.io/{ID}", ["{ID}", "containerd", "-", "-", "-"]),
    ("/ecs/{HASH}/{ID}", ["{ID}", "-", "-", "-", "-"]),
    // systemd.
    (
        "/system.slice/nginx.service",
        ["-", "-", "-", "-", "nginx.service"],
    ),
    (
        "/system.slice/system-getty.slice/getty@tty1.service",
        ["-", "-", "-", "-", "getty@tty1.service"],
    ),
    (
        "/system.slice/postgresql@15-main.service/workers",
        ["-", "-", "-", "-", "postgresql@15-main.service"],
    ),
    (
        "/user.slice/user-1000.slice/session-3.scope",
        ["-", "-", "-", "-", "session-3.scope"],
    ),
    (
        "/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox\\x2desr-812.scope",
        ["-", "-", "-", "-", "app-firefox\\x2desr-812.scope"],
    ),
    (
        "/user.slice/user-1000.slice/user@1000.service/init.scope",
        ["-", "-", "-", "-", "init.scope"],
    ),
    (
        "/system.slice/_cpu.service",
        ["-", "-", "-", "-", "cpu.service"],
    ),
    // Nothing known.
    ("/", ["-", "-", "-", "-", "-"]),
    ("/system.slice", ["-", "-", "-", "-", "-"]),
    ("/kubepods/burstable", ["-", "-", "-", "-", "-"]),
    ("/system.slice/.service", ["-", "-", "-", "-", "-"]),
    ("/a/pod-1/podman/podium.slice", ["-", "-", "-", "-", "-"]),
];

fn fill(template: &str) -> String {
    [
        ("{ID}", ID),
        ("{INNER}", INNER),
        ("{UID}", UID),
        ("{UID_}", UID_),
        ("{HASH}", HASH),
    ]
    .iter()
    .fold(template.to_owned(), |text, (name, value)| {
        text.replace(name, value)
    })
}

fn facts(workload: &Workload) -> [Option<&str>; 5] {
    let Workload {
        cgroup: _,
        container_id,
        container_runtime,
        pod_uid,
        qos_class,
        unit,
    } = workload;
    [container_id, container_runtime, pod_uid, qos_class, unit].map(Option::as_deref)
}

#[test]
fn each_spelling() {
    for (path, expected) in PATHS {
        let path = fill(path);
        let expected = expected.map(|fact| (fact != "-").then(|| fill(fact)));
        for text in [
            // A host with v2 alone, one with v1 alone, and two hybrids.
            format!("0::{path}\n"),
            format!("5:memory:{path}\n4:cpu,cpuacct:{path}\n1:name=systemd:{path}\n"),
            format!("5:memory:{path}\n1:name=systemd:{path}\n0::{path}\n"),
            format!("5:memory:{path}\n1:name=systemd:{path}\n0::/\n"),
            format!("0::{path} (deleted)\n"),
        ] {
            let workload = parse(&text);
            assert_eq!(
                facts(&workload),
                expected.each_ref().map(Option::as_deref),
                "{text}"
            );
            assert_eq!(workload.cgroup.as_deref(), Some(&*path), "{text}");
        }
    }
}

#[test]
fn a_container_that_only_v1_knows() {
    let text = format!(
        "9:name=systemd:/kubepods/burstable/pod{UID}/{ID}\n8:pids:/system.slice/containerd.service\n\
         0::/system.slice/containerd.service\n"
    );
    let workload = parse(&text);
    assert_eq!(
        facts(&workload),
        [Some(ID), None, Some(UID), Some("burstable"), None]
    );
}

#[test]
fn a_unit_whose_controllers_are_elsewhere() {
    let workload = parse(
        "4:memory:/jobs/nightly/reports/hourly/7\n1:name=systemd:/system.slice/batch.service\n",
    );
    assert_eq!(
        workload.cgroup.as_deref(),
        Some("/jobs/nightly/reports/hourly/7")
    );
    assert_eq!(workload.unit.as_deref(), Some("batch.service"));
}

#[test]
fn names_that_are_no_names() {
    let long = "u".repeat(300);
    for path in [
        format!("/system.slice/{long}.service"),
        "/system.slice/a b.service".to_owned(),
        "/system.slice/\u{1b}[31m.service".to_owned(),
        format!("/kubepods/pod{UID}0/{ID}0"),
        format!("/kubepods/pod{}/g{}", UID.replace('e', "g"), &ID[1..]),
        format!("/kubepods.slice/pods-pod{UID_}.slice"),
    ] {
        assert_eq!(facts(&parse(&format!("0::{path}\n"))), [None; 5], "{path}");
    }
    let workload = parse("0::/a\u{7}\u{9b}b\u{85}\n");
    assert_eq!(workload.cgroup.as_deref(), Some("/a??b?"));
    assert_eq!(parse(""), Workload::default());
    assert_eq!(parse("0::relative\n"), Workload::default());
}

#[test]
fn ways_up_are_left_out_where_they_end_at_the_root() {
    for (path, root, expected) in [
        (
            "/../../system.slice/a.service",
            "/../..",
            "/system.slice/a.service",
        ),
        ("/../other", "/../..", "/../other"),
        ("/../../..", "/../..", "/../../.."),
        ("/../..", "/../..", "/"),
        ("/../..a", "/..", "/../..a"),
        ("/a", "/", "/a"),
    ] {
        assert_eq!(below(path, root), expected);
    }
}

#[test]
fn our_own_process() {
    let proc = Proc::default();
    let workload = of_pid(&proc, std::process::id());
    assert!(workload.cgroup.is_some_and(|path| path.starts_with('/')));
    assert_eq!(of_pid(&proc, u32::MAX), Workload::default());
}

fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(
            PATHS
                .iter()
                .flat_map(|(path, _)| path.split('/'))
                .collect::<Vec<_>>()
        )
        .prop_map(fill),
        "[-:._@a-f0-9]{0,80}",
        "\\PC{0,300}",
        any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_groups_are_called(
        lines in prop::collection::vec(("[0-9]?:(|cpu|name=systemd):/?", prop::collection::vec(part(), 0..16)), 0..8),
        junk in any::<String>(),
    ) {
        let lines: Vec<String> = lines.into_iter().map(|(head, parts)| head + &parts.join("/")).collect();
        let workload = parse(&(lines.join("\n") + &junk));
        prop_assert!(workload.cgroup.as_ref().is_none_or(|path| path.len() <= MAX_PATH_BYTES));
        prop_assert!(workload.container_id.as_ref().is_none_or(|id| cgroup::split_id(id).is_some()));
        prop_assert!(workload.pod_uid.as_ref().is_none_or(|uid| is_uid(uid)));
        prop_assert!(workload.qos_class.is_none() || workload.pod_uid.is_some());
        prop_assert!(workload.container_runtime.is_none() || workload.container_id.is_some());
        prop_assert!(workload.unit.as_ref().is_none_or(|unit| unit.len() <= MAX_NAME_BYTES));
        let Workload { cgroup, .. } = &workload;
        for text in cgroup.iter().map(String::as_str).chain(facts(&workload).into_iter().flatten()) {
            prop_assert!(!text.contains(char::is_control), "{:?}", text);
        }
    }
}
