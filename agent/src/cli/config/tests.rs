use clap::Parser as _;

use super::*;
use crate::cli::exit::Exit;

fn parse(line: &str) -> Result<Config, Error> {
    let args = Args::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{error}"));
    Config::try_from(args)
}

fn record_of(line: &str) -> RecordConfig {
    match parse(line) {
        Ok(Config::Record(config)) => config,
        other => panic!("{other:?}"),
    }
}

/// Message and hint of a refused command line.
fn refused(line: &str) -> (String, String) {
    let error = parse(line).unwrap_err();
    assert_eq!(error.exit, Exit::Usage);
    (error.message, error.hint.unwrap_or_default())
}

#[test]
fn the_shortest_line_has_all_defaults() {
    assert_eq!(
        record_of("holdup record -p 4242"),
        RecordConfig {
            target: TargetSpec::Pids(vec![4242]),
            recording: Recording::default(),
            probes: Probes::default(),
            report: ReportOptions::default(),
            limits: Limits::default(),
        }
    );
    assert_eq!(
        parse("holdup doctor"),
        Ok(Config::Doctor(DoctorConfig::default()))
    );
}

#[test]
fn every_option_arrives() {
    let config = record_of(
        "holdup record --comm postgres -d 1m -o pg.json --format json --top 5 --max-locks 7 --max-threads 8 \
         --ring-bytes 64KiB --sample-interval 1s --no-stacks -q --probe slow,go --max-overhead 7",
    );
    assert_eq!(
        config,
        RecordConfig {
            target: TargetSpec::Comm("postgres".to_owned()),
            recording: Recording {
                duration: Some(Duration::from_secs(60)),
                sample_interval: Duration::from_secs(1),
                stacks: false,
                progress: false,
            },
            probes: Probes {
                slow: true,
                go: true,
                max_overhead_percent: 7,
                ..Probes::default()
            },
            report: ReportOptions {
                output: Some("pg.json".into()),
                format: Format::Json,
                top: 5,
            },
            limits: Limits {
                max_locks: 7,
                max_threads: 8,
                ring_bytes: 65_536,
            },
        }
    );
}

#[test]
fn probes_of_every_lock_name_their_target() {
    let probes = record_of(
        "holdup record -p 1 --probe entry --probe slow --lock-fn my_lock(arg1) --unlock-fn my_unlock(arg0)",
    )
    .probes;
    assert!(probes.entry && probes.slow && !probes.go);
    assert_eq!(probes.max_overhead_percent, 5);
    assert_eq!(probes.lock_functions[0].argument, 1);
    assert_eq!(probes.unlock_functions[0].name, "my_unlock");
    assert!(
        record_of("holdup record --probe entry -- true")
            .probes
            .entry
    );
    for target in ["--all", "--comm x", "--cgroup /x", "--container 12345678"] {
        let (message, hint) = refused(&format!("holdup record {target} --probe entry"));
        assert_eq!(
            message,
            "--probe entry slows down every lock of what it watches"
        );
        assert!(hint.contains("-p PID"), "{hint}");
        let line = format!("holdup record {target} --probe slow,go");
        assert!(record_of(&line).probes.any());
    }
    for line in [
        "holdup record -p 1 --lock-fn a(arg0) --unlock-fn b(arg0)",
        "holdup record -p 1 --probe entry --lock-fn a(arg0)",
        "holdup record -p 1 --probe entry --unlock-fn a(arg0)",
        "holdup record -p 1 --max-overhead 0",
        "holdup record -p 1 --max-overhead 101",
    ] {
        refused(line);
    }
}

#[test]
fn targets() {
    let target = |line: &str| record_of(&format!("holdup record {line}")).target;
    assert_eq!(
        target("-p 3,1 -p 2 --pid 1"),
        TargetSpec::Pids(vec![1, 2, 3])
    );
    assert_eq!(target("--all"), TargetSpec::All);
    assert_eq!(target("--cgroup /a/b"), TargetSpec::Cgroup("/a/b".into()));
    assert_eq!(
        target("--container ABCDEF0123"),
        TargetSpec::Container("abcdef0123".to_owned())
    );
    assert_eq!(
        target("--container containerd://abcdef0123"),
        TargetSpec::Container("abcdef0123".to_owned())
    );
    let program = ["./server", "-p", "8080", "--all"]
        .map(OsString::from)
        .to_vec();
    assert_eq!(
        target("-- ./server -p 8080 --all"),
        TargetSpec::Program(program)
    );
}

#[test]
fn a_program_is_watched_until_it_ends_unless_told_otherwise() {
    assert_eq!(record_of("holdup record -- x").recording.duration, None);
    let limited = record_of("holdup record -d 5s -- x").recording.duration;
    assert_eq!(limited, Some(Duration::from_secs(5)));
}

#[test]
fn snapshot_and_show() {
    let Ok(Config::Snapshot(config)) =
        parse("holdup snapshot --comm x --format folded --no-stacks")
    else {
        panic!("not a snapshot");
    };
    assert_eq!(config.report.format, Format::Folded);
    assert!(!config.stacks);
    let Ok(Config::Show(config)) = parse("holdup show a.json --format svg -o a.svg") else {
        panic!("not a show");
    };
    assert_eq!(config.file, PathBuf::from("a.json"));
    assert_eq!(config.report.output, Some("a.svg".into()));
}

#[test]
fn a_missing_target_is_answered_with_the_choices() {
    let (message, hint) = refused("holdup record");
    assert_eq!(message, "record needs to know which processes to look at");
    assert!(hint.ends_with("--all or -- CMD"));
    let (message, hint) = refused("holdup snapshot");
    assert!(message.starts_with("snapshot needs"));
    assert!(!hint.contains("CMD"));
}

#[test]
fn two_targets_are_named() {
    assert_eq!(
        refused("holdup record -p 1 --all").0,
        "-p and --all cannot be combined"
    );
    assert_eq!(
        refused("holdup record --comm a --cgroup /b --container 12345678 -- c").0,
        "--comm and --cgroup and --container and -- CMD cannot be combined"
    );
}

#[test]
fn values_out_of_range_are_refused() {
    for (line, message) in [
        ("-p 0", "-p 0: 0 is not a process"),
        ("--all -d 0s", "--duration 0s: out of range"),
        ("--all -d 25h", "--duration 1day 1h: out of range"),
        (
            "--all --sample-interval 0s",
            "--sample-interval 0s: out of range",
        ),
        ("--all --top 0", "--top 0: out of range"),
        ("--all --max-locks 0", "--max-locks 0: out of range"),
        (
            "--all --max-threads 9999999",
            "--max-threads 9999999: out of range",
        ),
        (
            "--all --ring-bytes 100000",
            "--ring-bytes 100000B: the kernel would not take it",
        ),
        (
            "--all --ring-bytes 4KiB",
            "--ring-bytes 4KiB: the kernel would not take it",
        ),
        (
            "--all --ring-bytes 8GiB",
            "--ring-bytes 8GiB: the kernel would not take it",
        ),
        ("--comm ", "--comm: the name is empty"),
        (
            "--container 1234567",
            "--container 1234567: not a container id",
        ),
        (
            "--container my-web-server",
            "--container my-web-server: not a container id",
        ),
    ] {
        assert_eq!(refused(&format!("holdup record {line}")).0, message);
    }
    let pids: Vec<String> = (1..=20_000).map(|pid| pid.to_string()).collect();
    let (message, hint) = refused(&format!("holdup record -p {}", pids.join(",")));
    assert_eq!(message, "-p: 20000 processes are more than 16384");
    assert!(hint.contains("--all"));
}

#[test]
fn what_clap_refuses_is_usage_too() {
    for (line, text) in [
        (
            "holdup record --all -d 10",
            "a unit is missing: 10s or 10ms?",
        ),
        ("holdup record -p x", "invalid digit"),
        (
            "holdup record --all --format yaml",
            "possible values: table, json, pprof, folded, svg",
        ),
        (
            "holdup record --all --ring-bytes much",
            "not a size such as",
        ),
        ("holdup snapshot -p 1 -- x", "unexpected argument"),
        ("holdup record --cgroup ", "a value is required"),
        ("holdup record --all -o ", "a value is required"),
        ("holdup show", "<FILE>"),
        ("holdup records", "unrecognized subcommand"),
        ("holdup", "Usage: holdup <COMMAND>"),
    ] {
        let error = Args::try_parse_from(line.split(' ')).unwrap_err();
        assert!(error.use_stderr(), "{line}");
        assert!(error.to_string().contains(text), "{line}: {error}");
    }
}

#[test]
fn clap_accepts_the_definition() {
    use clap::CommandFactory as _;
    Args::command().debug_assert();
}
