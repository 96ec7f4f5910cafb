//! Names that want to break the text.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    super::{Format, Http, Totals},
    node::{Node, Place},
    settings,
};
use crate::model::{Kind, health::Health, watch::View};

const NASTY: [&str; 6] = [
    "a\nholdup_lock_waiters 666\n# EOF\n",
    "quote\" back\\slash {brace} ,comma",
    "",
    "\0\x1b[2J\r",
    "\u{202e}tnemnorivne\u{feff}",
    "ünïcödé 锁",
];

fn text(format: Format) -> String {
    let mut totals = Totals::new(settings(10));
    let mut node = Node::default();
    let long = "x\"\\".repeat(4000);
    for (pid, name) in (1..).zip(NASTY.into_iter().chain([long.as_str()])) {
        node.start(pid, name);
        node.wait(Place::new(pid, 1, Kind::Mutex), 1, 10, 1);
    }
    let mut view = View::clone(&node.view(1));
    for (lock, name) in view
        .locks
        .iter_mut()
        .zip(NASTY.into_iter().chain([long.as_str()]))
    {
        let lock = Arc::make_mut(lock);
        lock.site = Some(name.into());
        lock.id = name.into();
    }
    view.loss = BTreeMap::from([("reason\"}\n".to_owned(), 1)]);
    totals.observe(&Arc::new(view));
    let exposition = totals.scrape(&Health::default(), &[], Http::default());
    exposition.encode(format).unwrap()
}

#[test]
fn every_line_is_one_sample() {
    for format in [Format::OpenMetrics, Format::Prometheus] {
        let text = text(format);
        assert!(text.len() < 100_000, "{} bytes", text.len());
        let is_eof = |line: &&str| *line == "# EOF";
        let ends = usize::from(format == Format::OpenMetrics);
        assert_eq!(text.lines().filter(is_eof).count(), ends);
        for line in text.lines().filter(|line| !line.starts_with("# ")) {
            assert!(line.starts_with("holdup_"), "{line:?}");
            assert!(!line.contains(char::is_control), "{line:?}");
            let (_, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line:?}");
            assert!(
                !line.contains("666") || line.contains("\u{fffd}holdup"),
                "{line:?}"
            );
            // Quotes that are not escaped come in pairs.
            let plain = line.replace("\\\\", "").replace("\\\"", "");
            assert_eq!(plain.matches('"').count() % 2, 0, "{line:?}");
        }
        assert!(
            text.contains(r#"process="quote\" back\\slash {brace} ,comma""#),
            "{text}"
        );
        assert!(text.contains(r#"process="unknown""#));
    }
}
