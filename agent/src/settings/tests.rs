//! What is refused, and in which words.

use std::{collections::BTreeSet, path::Path};

use super::*;

fn refusal(text: &str) -> String {
    Settings::parse(text).unwrap_err().to_string()
}

#[test]
fn an_empty_file_is_the_defaults() {
    let settings = Settings::parse("").unwrap();
    assert_eq!(settings, Settings::default());
    assert_eq!(settings.check(), Ok(()));
}

#[test]
fn what_is_written_is_what_is_meant() {
    let text = "\
[detect]
cool_down = \"1h\"
parked = { waiters = 50, for = \"3s\" }

[[detect.rule]]
comment = \"batch jobs may wait\"
process = \"batch-*\"
stalled.for = \"10m\"
long_wait.enabled = false

[[detect.rule]]
pod = \"1b4e28ba-*\"
reasons = [\"parked\", \"growing\"]
mute = true
until = \"2026-12-31T23:59:59Z\"
";
    let settings = Settings::parse(text).unwrap();
    let detect = &settings.detect;
    assert_eq!(detect.cool_down.as_secs(), 3600);
    assert_eq!(
        (detect.parked.waiters, detect.parked.r#for.as_secs()),
        (50, 3)
    );
    assert_eq!(detect.parked.process_waiters, 300);
    assert_eq!(detect.rules.len(), 2);
    let again = toml::to_string(&settings).unwrap();
    assert_eq!(Settings::parse(&again).unwrap(), settings);
}

#[test]
fn a_refusal_names_line_and_key() {
    let mute = "[[detect.rule]]\nmute = true\n";
    for (text, sentence) in [
        (
            "[detect]\nheartbeat = 10",
            "2:13: detect.heartbeat: invalid type: integer `10`, expected a string",
        ),
        (
            "[detect]\n  heartbeat = \"soon\"",
            "2:15: detect.heartbeat: \"soon\": expected number at 0",
        ),
        (
            "[detect.parked]\nwaiter = 3",
            "2:1: detect.parked.waiter: unknown field `waiter`, expected one of `enabled`, `waiters`, \
             `process_waiters`, `oldest`, `for`",
        ),
        ("[detect", "1:8: unclosed table, expected `]`"),
        (
            "[detect]\nparked.waiters = 0",
            "2:8: detect.parked.waiters must be between 1 and 4194304, it is 0",
        ),
        (
            "[detect]\nstalled.for = \"1ms\"",
            "2:9: detect.stalled.for must be at least 100ms, it is 1ms: every lock is held for a moment",
        ),
        (
            "[detect]\nresolve_after = \"5s\"",
            "1:2: detect.heartbeat (10s) must not be more than resolve_after (5s)",
        ),
        (
            "[detect]\nclear_percent = 101",
            "2:1: detect.clear_percent must be between 1 and 100, it is 101",
        ),
        (
            &format!("{mute}process = \"[a\""),
            "3:1: detect.rule[0].process is no pattern: unclosed character class; missing ']': \"[a\"",
        ),
        (
            &format!("{mute}cgroup = \"\""),
            "3:1: detect.rule[0].cgroup is empty, so that the rule never matches",
        ),
        (
            &format!("{mute}kinds = [\"mutex\", \"condvar\"]"),
            "3:1: detect.rule[0].kinds names condvar, which is never counted: who waits for that has nothing to do",
        ),
        (
            &format!("{mute}reasons = [\"slow\"]"),
            "3:12: detect.rule[0].reasons[0]: unknown variant `slow`, expected one of `parked`, `stalled`, `growing`, \
             `long_wait`, `deadlock`",
        ),
        (
            &format!("{mute}reasons = [\"parked\"]\nstalled.waiters = 7"),
            "4:1: detect.rule[0].stalled is set, but the rule's reasons leave stalled out",
        ),
        (
            &format!("{mute}process = \"a\"\nuntil = \"tomorrow\""),
            "4:1: detect.rule[0].until must be like 2026-12-31T23:59:59Z, \"tomorrow\" is not: timestamp format is invalid",
        ),
        (
            "[[detect.rule]]\nprocess = \"a\"\n",
            "1:1: detect.rule[0].mute is not set and neither is any threshold: the rule does nothing",
        ),
        (
            "[[detect.rule]]\nuntil = \"2026-12-31T23:59:59Z\"\nparked.waiters = 3",
            "2:1: detect.rule[0].until belongs to mute = true",
        ),
        (
            &format!("{mute}[[detect.rule]]\nprocess = \"a\"\nmute = true"),
            "3:1: detect.rule[1] can never match: rule[0] before it matches everything, and the first one decides",
        ),
        (
            &format!("{mute}process = \"a\"\ngrowing.factor = 1"),
            "4:9: detect.rule[0].growing.factor must be between 2 and 4194304, it is 1",
        ),
    ] {
        assert_eq!(refusal(text), sentence, "{text}");
    }
}

#[test]
fn a_table_that_nobody_knows_is_refused() {
    let refusal = refusal("\n[detekt]");
    let begins = "2:2: detekt: unknown field `detekt`, expected ";
    assert!(refusal.starts_with(begins), "{refusal}");
    assert!(refusal.contains("`detect`"), "{refusal}");
}

#[test]
fn a_rule_for_other_reasons_is_not_hidden() {
    let text = "\
[[detect.rule]]
reasons = [\"parked\"]
mute = true
[[detect.rule]]
process = \"a\"
mute = true
";
    assert_eq!(Settings::parse(text).unwrap().detect.rules.len(), 2);
}

#[test]
fn a_file_is_named() {
    let missing = Settings::load(Path::new("/nowhere/holdup.toml")).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "/nowhere/holdup.toml: No such file or directory (os error 2)"
    );
    let directory = std::env::temp_dir().join(format!("holdup-settings-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("holdup.toml");
    std::fs::write(&path, "[detect]\nalerts = 0\n").unwrap();
    let wrong = Settings::load(&path).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        format!(
            "{}:2:1: detect.alerts must be between 1 and 100000, it is 0",
            path.display()
        )
    );
    std::fs::write(&path, "#".repeat(1 + (1 << 20))).unwrap();
    let long = Settings::load(&path).unwrap_err();
    assert!(matches!(long, Error::TooLong { .. }), "{long}");
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    let binary = Settings::load(&path).unwrap_err();
    assert!(matches!(binary, Error::Read { .. }), "{binary}");
    std::fs::remove_dir_all(&directory).unwrap();
}

/// The file that is shipped.
const EXAMPLE: &str = include_str!("../../deploy/holdup.toml");

#[test]
fn the_example_is_the_defaults() {
    assert_eq!(Settings::parse(EXAMPLE).unwrap(), Settings::default());
}

#[test]
fn the_example_has_every_key() {
    let keys = |text: &str| {
        let mut keys = BTreeSet::new();
        paths("", &text.parse().unwrap(), &mut keys);
        keys
    };
    let defaults = toml::to_string(&Settings::default()).unwrap();
    let missing: Vec<_> = keys(&defaults)
        .difference(&keys(EXAMPLE))
        .cloned()
        .collect();
    assert!(
        missing.is_empty(),
        "not in holdup.toml: {missing:?}, of\n{defaults}"
    );
}

fn paths(path: &str, table: &toml::Table, keys: &mut BTreeSet<String>) {
    for (name, value) in table {
        let path = format!("{path}/{name}");
        match value {
            toml::Value::Table(table) => paths(&path, table, keys),
            // What there is none of is shown as a comment.
            toml::Value::Array(array) if array.is_empty() => {}
            _ => {
                keys.insert(path);
            }
        }
    }
}

/// The tables that are shown as comments, with the comment signs taken away.
#[test]
fn the_example_rules_and_receivers_are_right() {
    let mut text = String::new();
    let mut is_table = false;
    for line in EXAMPLE.lines() {
        let line = line.strip_prefix("# ").unwrap_or_default();
        is_table = !line.is_empty() && (is_table || line.starts_with("[["));
        if is_table {
            text.push_str(line);
            text.push('\n');
        }
    }
    let settings = Settings::parse(&text).unwrap();
    assert_eq!(settings.detect.rules.len(), 2, "{text}");
    assert_eq!(settings.alert.alertmanager.len(), 1, "{text}");
    assert_eq!(settings.alert.webhook.len(), 1, "{text}");
}
