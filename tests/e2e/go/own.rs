//! Go's own account of its goroutines (`debug=1`), and ours as text, both as counts by stack.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

/// How many goroutines have a stack, by the names of its functions, innermost first.
pub type Stacks = BTreeMap<Vec<String>, u64>;

/// What hides how a goroutine parks: Go leaves the runtime's own functions out where a stack begins.
fn add(stacks: &mut Stacks, functions: Vec<String>, count: u64) {
    let parks = |name: &String| name.starts_with("runtime.");
    let functions: Vec<String> = functions.into_iter().skip_while(parks).collect();
    *stacks.entry(functions).or_default() += count;
}

/// Reads Go's: `7 @ 0x1 0x2`, then a line for each activation: `#`, address, `main.f+0x12`, place.
pub fn of_go(text: &str) -> Result<Stacks> {
    let mut stacks = Stacks::new();
    for group in text.split("\n\n") {
        let mut lines = group.lines().skip_while(|line| !line.contains(" @ "));
        let Some((count, _)) = lines.next().and_then(|line| line.split_once(" @ ")) else {
            continue;
        };
        let count = count.parse().with_context(|| group.to_owned())?;
        let functions = lines
            .filter(|line| line.starts_with('#'))
            .filter_map(|line| {
                let named = line.split('\t').nth(2)?;
                Some(named.rsplit_once('+')?.0.to_owned())
            });
        add(&mut stacks, functions.collect(), count);
    }
    Ok(stacks)
}

/// Reads ours: `7 goroutines [chan receive]:`, then `main.f()` and its place in turn.
pub fn of_holdup(text: &str) -> Result<Stacks> {
    let mut stacks = Stacks::new();
    for group in text.split("\n\n") {
        let mut lines = group.lines();
        let Some(first) = lines
            .next()
            .filter(|line| line.ends_with("]:") || line.contains("] on "))
        else {
            continue;
        };
        let count = first.split(' ').next().unwrap_or_default();
        let count = count.parse().with_context(|| group.to_owned())?;
        let functions = lines
            .filter(|line| !line.starts_with('\t') && !line.starts_with("created by "))
            .filter_map(|line| {
                let inlined = line.strip_suffix("(...)");
                inlined
                    .or_else(|| line.strip_suffix("()"))
                    .map(str::to_owned)
            });
        add(&mut stacks, functions.collect(), count);
    }
    Ok(stacks)
}
