//! What a control group may use and does use: v2, or v1 with a hierarchy for each controller.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use crate::{
    model::bundle::{CgroupFacts, Pressure},
    proc::{
        cgroup::{self, Membership},
        process::Proc,
    },
};

/// Longest file that is read.
const MAX_BYTES: u64 = 64 * 1024;
/// Groups above that may limit it too.
const MAX_DEPTH: usize = 32;

/// Facts of the control group that a process is in; `None` when it cannot be found.
#[must_use]
pub fn facts(pid: u32) -> Option<CgroupFacts> {
    let proc = Proc::default();
    let memberships = proc.cgroups(pid);
    let mountinfo = proc.mountinfo()?;
    let path = cgroup::main(&memberships)?.to_owned();
    let group = |controller: &str| Group::of(controller, &memberships, &mountinfo);
    let (memory, cpu, pids) = (group("memory"), group("cpu"), group("pids"));
    if memory.is_none() && cpu.is_none() && pids.is_none() {
        return None;
    }
    let mut facts = CgroupFacts {
        path,
        ..CgroupFacts::default()
    };
    if let Some(group) = &memory {
        facts.memory_bytes = group.number(&["memory.current", "memory.usage_in_bytes"]);
        facts.memory_max_bytes = group.least(|dir| {
            let max = number(dir, "memory.max").or_else(|| number(dir, "memory.limit_in_bytes"));
            // v1 says the greatest number of pages for no limit.
            max.filter(|&bytes| bytes < 1 << 60)
        });
        let events = ["memory.events", "memory.oom_control"];
        facts.oom = group.field(&events, "oom");
        facts.oom_kills = group.field(&events, "oom_kill");
    }
    if let Some(group) = &cpu {
        facts.cpu_max_milli = group.least(cpu_max_milli);
        facts.cpu_throttled = group.field(&["cpu.stat"], "nr_throttled");
        let v2_us = group.field(&["cpu.stat"], "throttled_usec");
        facts.cpu_throttled_ns = match v2_us {
            Some(us) => us.checked_mul(1000),
            None => group.field(&["cpu.stat"], "throttled_time"),
        };
    }
    if let Some(group) = &pids {
        facts.tasks = group.number(&["pids.current"]);
        facts.tasks_max = group.least(|dir| number(dir, "pids.max"));
    }
    facts.pressure = pressures(&memberships, &mountinfo);
    Some(facts)
}

/// A group's directory below the point where its hierarchy is mounted.
struct Group {
    point: PathBuf,
    directory: PathBuf,
}

impl Group {
    /// The one that has this controller: v1's where it is mounted there, else v2's.
    fn of(controller: &str, memberships: &[Membership], mountinfo: &str) -> Option<Self> {
        let has = |list: &str| list.split(',').any(|name| name == controller);
        let v1 = memberships
            .iter()
            .find(|membership| has(&membership.controllers));
        let lines = || mountinfo.lines();
        if let Some(own) = v1 {
            let mounted = |line: &&str| {
                let options = line.rsplit(' ').next();
                options.is_some_and(has)
            };
            let mount = lines()
                .filter(mounted)
                .find_map(|line| cgroup::mounts(line).find(|mount| !mount.is_v2));
            return Self::below(&mount?, &own.path);
        }
        let own = memberships.iter().find(|it| it.is_v2())?;
        Self::below(&cgroup::v2_mount(mountinfo)?, &own.path)
    }

    fn below(mount: &cgroup::Mount, path: &str) -> Option<Self> {
        let below = Path::new(path).strip_prefix(&mount.root).ok()?;
        // `..`: the process is outside the part that we see.
        let is_below = below
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        is_below.then(|| Self {
            point: mount.point.clone(),
            directory: mount.point.join(below),
        })
    }

    fn number(&self, names: &[&str]) -> Option<u64> {
        names.iter().find_map(|name| number(&self.directory, name))
    }

    fn field(&self, names: &[&str], key: &str) -> Option<u64> {
        names.iter().find_map(|name| {
            let text = text(&self.directory, name)?;
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.strip_prefix(' ')?.trim().parse().ok()
        })
    }

    /// The tightest limit, of the group and those above it.
    fn least(&self, limit: impl Fn(&Path) -> Option<u64>) -> Option<u64> {
        self.directory
            .ancestors()
            .take(MAX_DEPTH)
            .take_while(|directory| directory.starts_with(&self.point))
            .filter_map(limit)
            .min()
    }
}

fn text(directory: &Path, name: &str) -> Option<String> {
    let mut text = String::new();
    let file = File::open(directory.join(name)).ok()?;
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

/// `max` is no number.
fn number(directory: &Path, name: &str) -> Option<u64> {
    text(directory, name)?.trim().parse().ok()
}

/// Quota and period, in v2 in one file.
fn cpu_max_milli(directory: &Path) -> Option<u64> {
    let (quota, period) = match text(directory, "cpu.max") {
        Some(text) => {
            let mut words = text.split_ascii_whitespace();
            (words.next()?.parse().ok()?, words.next()?.parse().ok()?)
        }
        None => (
            number(directory, "cpu.cfs_quota_us")?,
            number(directory, "cpu.cfs_period_us")?,
        ),
    };
    u64::checked_mul(quota, 1000)?.checked_div(period)
}

/// Only v2 has them.
fn pressures(memberships: &[Membership], mountinfo: &str) -> BTreeMap<String, Pressure> {
    let own = memberships.iter().find(|it| it.is_v2());
    let group = own.and_then(|own| Group::below(&cgroup::v2_mount(mountinfo)?, &own.path));
    let Some(group) = group else {
        return BTreeMap::new();
    };
    ["cpu", "memory", "io"]
        .into_iter()
        .filter_map(|resource| {
            let text = text(&group.directory, &format!("{resource}.pressure"))?;
            Some((resource.to_owned(), pressure(&text)?))
        })
        .collect()
}

/// `some avg10=0.00 avg60=1.25 avg300=0.10 total=123`, and a line for `full`.
fn pressure(text: &str) -> Option<Pressure> {
    let average = |kind: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let mut words = line.split_ascii_whitespace();
        let percent = words.find_map(|word| word.strip_prefix(key))?;
        let (whole, hundredths) = percent.split_once('.')?;
        let is_two = hundredths.len() == 2;
        let hundredths: u64 = hundredths.parse().ok().filter(|_| is_two)?;
        whole
            .parse::<u64>()
            .ok()?
            .checked_mul(100)?
            .checked_add(hundredths)
    };
    Some(Pressure {
        some_10s: average("some ", "avg10=")?,
        some_60s: average("some ", "avg60=")?,
        full_10s: average("full ", "avg10="),
        full_60s: average("full ", "avg60="),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A directory that is removed in the end.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("holdup-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }

        fn group(&self, directory: &str) -> Group {
            Group {
                point: self.0.clone(),
                directory: self.0.join(directory),
            }
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_tightest_limit_is_that_of_a_group_above() {
        let tree = Tree::new(
            "limits",
            &[
                ("pod/memory.max", "5000\n"),
                ("pod/cpu.max", "50000 100000\n"),
                ("pod/app/memory.max", "max\n"),
                ("pod/app/cpu.max", "max 100000\n"),
                ("pod/app/memory.events", "low 0\noom 3\noom_kill 2\n"),
            ],
        );
        let group = tree.group("pod/app");
        assert_eq!(group.least(|dir| number(dir, "memory.max")), Some(5000));
        assert_eq!(group.least(cpu_max_milli), Some(500));
        assert_eq!(group.field(&["memory.events"], "oom"), Some(3));
        assert_eq!(group.field(&["memory.events"], "oom_kill"), Some(2));
    }

    #[test]
    fn a_controller_of_v1_is_looked_for_where_it_is_mounted() {
        let memberships = cgroup::parse("9:cpu,cpuacct:/a\n4:memory:/a/b\n0::/c\n");
        let mountinfo = "\
31 23 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 23 0:29 /a /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 23 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
        let directory = |controller| {
            let group = Group::of(controller, &memberships, mountinfo)?;
            group.directory.to_str().map(str::to_owned)
        };
        assert_eq!(
            directory("cpu").as_deref(),
            Some("/sys/fs/cgroup/cpu,cpuacct/a")
        );
        assert_eq!(
            directory("memory").as_deref(),
            Some("/sys/fs/cgroup/memory/b")
        );
        assert_eq!(
            directory("pids").as_deref(),
            Some("/sys/fs/cgroup/unified/c")
        );
        let outside = cgroup::parse("4:memory:/../b\n");
        assert!(Group::of("memory", &outside, mountinfo).is_none());
    }

    #[test]
    fn pressure_is_in_hundredths() {
        let text = "some avg10=1.05 avg60=12.30 avg300=0.00 total=5\n\
                    full avg10=0.00 avg60=0.07 avg300=0.00 total=1\n";
        let expected = Pressure {
            some_10s: 105,
            some_60s: 1230,
            full_10s: Some(0),
            full_60s: Some(7),
        };
        assert_eq!(pressure(text), Some(expected));
        let cut = pressure("some avg10=1.05 avg60=12.30").unwrap();
        assert_eq!((cut.full_10s, cut.some_60s), (None, 1230));
        for nonsense in [
            "",
            "some",
            "some avg10=x.00 avg60=1.00",
            "some avg10=1.5 avg60=1.00",
        ] {
            assert_eq!(pressure(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn our_own_group_on_this_machine() {
        let path = Proc::default().describe(std::process::id()).cgroup;
        if let Some(facts) = facts(std::process::id()) {
            assert_eq!(Some(facts.path), path);
        }
    }
}
