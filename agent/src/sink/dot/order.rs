//! The order in which locks are taken: an edge from what is held to what is taken under it.

use std::collections::HashSet;

use super::{Drawing, label};
use crate::{
    model::entry::{EntryReport, Mode, OrderEdge, OrderLock},
    sink::{name, table, units},
};

/// Most edges; those of circles come first.
const MAX_EDGES: usize = 400;

/// Adds the lock order to a drawing. Circles are red; a try, which never waits, is dashed.
pub fn draw(drawing: &mut Drawing, report: &EntryReport) {
    let mut drawn = HashSet::new();
    let in_circles = report.potential_deadlocks.iter();
    let in_circles = in_circles.flat_map(|deadlock| &deadlock.edges);
    let in_circles = in_circles.map(|edge| (edge, true));
    let others = report.order.iter().map(|edge| (edge, false));
    for (edge, in_circle) in in_circles.chain(others).take(MAX_EDGES) {
        let what = (&edge.held, &edge.acquired, edge.trylock);
        if drawn.insert(what) {
            self::edge(drawing, edge, in_circle);
        }
    }
}

fn edge(drawing: &mut Drawing, edge: &OrderEdge, in_circle: bool) {
    let (Some(from), Some(to)) = (lock(drawing, &edge.held), lock(drawing, &edge.acquired)) else {
        return;
    };
    let what = match (edge.trylock, edge.acquired_mode) {
        (true, _) => "then tries",
        (false, Mode::Exclusive) => "then",
        (false, Mode::Shared) => "then reads",
    };
    let mut lines = vec![format!(
        "{what}, {}",
        units::plural(edge.count, "time", "times")
    )];
    let place = table::stack::shown(&edge.acquired_frames).first();
    lines.extend(place.map(name::word));
    let style = match (in_circle, edge.trylock) {
        (true, _) => "circle",
        (false, true) => "dashed",
        (false, false) => "solid",
    };
    drawing.edges.insert((from, to, label(&lines), style));
}

fn lock(drawing: &mut Drawing, lock: &OrderLock) -> Option<String> {
    let mut name = super::lock_name(lock.pid, lock.address);
    if lock.generation > 0 {
        name.push_str(&format!("_{}", lock.generation));
    }
    drawing.add(name, label(std::slice::from_ref(&lock.name)), "ellipse")
}

#[cfg(test)]
mod tests {
    use crate::sink::{Report, causes::Causes, fixture};

    #[test]
    fn locks_in_both_orders_are_a_red_circle() {
        let report = Report::Capture(fixture::entry::capture_with_entry());
        let dot = super::super::render(&report, &Causes::default());
        let edge = |from: &str, to: &str| {
            let edge = format!("  l4242_{from} -> l4242_{to} ");
            let mut found = dot.lines().filter(|line| line.starts_with(&edge));
            let line = found.next().unwrap_or_default().to_owned();
            assert!(found.next().is_none(), "{dot}");
            line
        };
        let (there, back) = (edge("4040", "4080"), edge("4080", "4040"));
        assert!(
            there.contains("bank.c:40") && there.contains("color=red"),
            "{there}"
        );
        assert!(
            back.contains("bank.c:71") && back.contains("color=red"),
            "{back}"
        );
        let tried = edge("4040", "7f1234567890");
        assert!(
            tried.contains("then tries") && tried.contains("style=dashed"),
            "{tried}"
        );
        assert_eq!(dot.matches("color=red").count(), 2);
    }
}
