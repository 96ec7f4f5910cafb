//! From raw runs to medians, ratios and a table.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Value, json};

use super::observer;

/// What the workload can do: the byte that asks for it and its name.
pub const OPERATIONS: &[(u8, &str)] = &[
    (b'h', "futex hand-over"),
    (b'c', "contended mutex"),
    (b'u', "uncontended mutex"),
    (b's', "getppid"),
];

/// Nanoseconds per operation of every run, by observer and operation.
#[derive(Default)]
pub struct Runs(BTreeMap<(usize, usize), Vec<f64>>);

impl Runs {
    /// Adds one run of an operation (an index into [`OPERATIONS`]) under an observer (an index into the table).
    pub fn add(&mut self, observer: usize, operation: usize, ns: f64) {
        self.0.entry((observer, operation)).or_default().push(ns);
    }

    fn median(&self, observer: usize, operation: usize) -> Option<f64> {
        let mut runs = self.0.get(&(observer, operation))?.clone();
        runs.sort_by(f64::total_cmp);
        runs.get(runs.len() / 2).copied()
    }

    /// The table in Markdown: nanoseconds per operation and the ratio to the untraced run; for the hand-over, what is
    /// added in units of what empty programs add.
    pub fn markdown(&self) -> String {
        let mut text = String::from("| ns per operation (x untraced) |");
        for (_, name) in OPERATIONS {
            let _ = write!(text, " {name} |");
        }
        text += " hand-over: added cost, x empty programs |\n|---|";
        text += &"---:|".repeat(OPERATIONS.len() + 1);
        text.push('\n');
        let index = |name| observer::OBSERVERS.iter().position(|row| row.name == name);
        let (base, floor) = (index(observer::BASE), index(observer::FLOOR));
        let hand_over = |row: Option<usize>| self.median(row?, 0);
        for (row, observer) in observer::OBSERVERS.iter().enumerate() {
            if self.median(row, 0).is_none() {
                continue;
            }
            let _ = write!(text, "| {} |", observer.name);
            for operation in 0..OPERATIONS.len() {
                let untraced = base.and_then(|base| self.median(base, operation));
                match (self.median(row, operation), untraced) {
                    (Some(ns), Some(untraced)) => {
                        let _ = write!(text, " {} ({:.2}) |", amount(ns), ns / untraced);
                    }
                    _ => text += " - |",
                }
            }
            match (hand_over(base), hand_over(floor), hand_over(Some(row))) {
                (Some(base), Some(floor), Some(ns)) if floor > base => {
                    let _ = writeln!(text, " {:.2} |", (ns - base) / (floor - base));
                }
                // Noise has swallowed the cost of the empty programs: there is no unit.
                _ => text += " - |\n",
            }
        }
        text
    }

    /// Every run, with medians.
    pub fn json(&self) -> Value {
        let rows = self.0.iter().filter_map(|((observer, operation), runs)| {
            Some(json!({
                "observer": observer::OBSERVERS.get(*observer)?.name,
                "operation": OPERATIONS.get(*operation)?.1,
                "median_ns": self.median(*observer, *operation),
                "runs_ns": runs,
            }))
        });
        rows.collect()
    }
}

/// Three digits are more than the noise allows.
fn amount(ns: f64) -> String {
    if ns < 100.0 {
        format!("{ns:.1}")
    } else {
        format!("{ns:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::Runs;

    #[test]
    fn the_table_holds_medians_and_ratios() {
        let mut runs = Runs::default();
        for ns in [900.0, 100.0, 800.0] {
            runs.add(0, 0, ns);
        }
        runs.add(1, 0, 900.0);
        runs.add(2, 0, 950.0);
        let text = runs.markdown();
        assert!(
            text.contains("| untraced | 800 (1.00) | - | - | - | 0.00 |"),
            "{text}"
        );
        assert!(text.contains("| 900 (1.12) | - | - | - | 1.00 |"), "{text}");
        assert!(text.contains("| 950 (1.19) | - | - | - | 1.50 |"), "{text}");
    }
}
