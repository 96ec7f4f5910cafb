//! A flame graph of the time spent waiting, drawn without a script: wide boxes waited long. The outermost function is at
//! the top, so that the page is read downwards as everything else on it.

use std::collections::BTreeMap;

use super::markup::Html;
use crate::sink::{Report, folded, text, units};

/// Units of the drawing, not pixels: it is scaled to the page.
const WIDTH: f64 = 1200.0;
const ROW: usize = 18;
/// Columns of text per unit of width, for the font and its size.
const COLUMNS_PER_UNIT: f64 = 1.0 / 6.7;
/// Boxes narrower than this are left out.
const NARROWEST: f64 = 1.5;
const MAX_DEPTH: usize = 48;
const MAX_BOXES: usize = 2_000;

#[derive(Default)]
struct Node {
    weight: u64,
    children: BTreeMap<String, usize>,
}

/// A function activation in the drawing.
struct Flame {
    name: String,
    x: f64,
    width: f64,
    depth: usize,
    weight: u64,
}

pub fn write(html: &mut Html, report: &Report) {
    let (flames, total, left_out) = layout(&folded::render(report));
    let Some(depth) = flames.iter().map(|flame| flame.depth + 1).max() else {
        return;
    };
    html.raw("<section id=\"flame\" aria-labelledby=\"flame-title\">\n");
    html.raw("<h2 id=\"flame-title\">Where threads waited</h2>\n<figure tabindex=\"0\" aria-labelledby=\"flame-title\">\n");
    html.leaf(
        "figcaption",
        &[("class", "quiet")],
        &format!(
            "{} of waiting, the outermost function at the top, the lock at the bottom. The tables above say the same in words.",
            units::duration(total)
        ),
    );
    let view_box = format!("0 0 {WIDTH} {}", depth * ROW);
    html.open(
        "svg",
        &[
            ("class", "flame"),
            ("viewBox", &view_box),
            ("role", "img"),
            ("aria-label", "Flame graph of the time spent waiting"),
        ],
    );
    for flame in &flames {
        draw(html, flame, total);
    }
    html.close("svg");
    if left_out > 0 {
        let boxes = units::plural(left_out, "box", "boxes");
        html.leaf(
            "p",
            &[("class", "quiet")],
            &format!("{boxes} too narrow or too deep to be drawn."),
        );
    }
    html.raw("</figure>\n</section>\n");
}

fn draw(html: &mut Html, flame: &Flame, total: u64) {
    let x = format!("{:.1}", flame.x);
    let y = (flame.depth * ROW).to_string();
    let width = format!("{:.1}", (flame.width - 0.5).max(0.5));
    let height = (ROW - 1).to_string();
    let kind = match flame.name.starts_with('[') {
        true => "lock",
        false => shade(&flame.name),
    };
    html.open("g", &[("class", kind)]);
    let title = format!(
        "{}: {}, {}",
        text::truncate_middle(&flame.name, 240),
        units::duration(flame.weight),
        units::percent(flame.weight, total)
    );
    html.inline("title", &[], &title);
    html.inline(
        "rect",
        &[("x", &x), ("y", &y), ("width", &width), ("height", &height)],
        "",
    );
    let columns = ((flame.width - 8.0) * COLUMNS_PER_UNIT).max(0.0) as usize;
    if columns >= 4 {
        let x = format!("{:.1}", flame.x + 4.0);
        let y = (flame.depth * ROW + 13).to_string();
        let name = text::shorten_function(&flame.name, columns);
        html.inline("text", &[("x", &x), ("y", &y)], &name);
    }
    html.raw("</g>\n");
}

/// One of a few shades, the same for the same function.
fn shade(name: &str) -> &'static str {
    const SHADES: [&str; 4] = ["a", "b", "c", "d"];
    let sum = name.bytes().fold(0_usize, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    SHADES.get(sum % SHADES.len()).copied().unwrap_or("a")
}

/// Boxes of folded stacks, their total weight, and how many boxes were left out.
fn layout(folded: &str) -> (Vec<Flame>, u64, u64) {
    let mut nodes = vec![Node::default()];
    let mut left_out = 0;
    for line in folded.lines() {
        let Some((stack, weight)) = line.rsplit_once(' ') else {
            continue;
        };
        let weight = weight.parse().unwrap_or(0);
        let mut at = 0;
        add(&mut nodes, at, weight);
        let frames: Vec<&str> = stack.split(';').collect();
        for (depth, name) in frames.iter().enumerate() {
            // The last one is the lock, which a deep stack keeps.
            let is_last = depth + 1 == frames.len();
            if depth + 1 >= MAX_DEPTH && !is_last {
                left_out += 1;
                continue;
            }
            at = child(&mut nodes, at, name);
            add(&mut nodes, at, weight);
        }
    }
    let total = nodes.first().map_or(0, |root| root.weight);
    let mut flames = Vec::new();
    let mut pending = vec![(0, 0.0, 0)];
    while let Some((index, x, depth)) = pending.pop() {
        let Some(node) = nodes.get(index) else {
            continue;
        };
        let mut x = x;
        for (name, &child) in &node.children {
            let weight = nodes.get(child).map_or(0, |node| node.weight);
            let width = WIDTH * weight as f64 / total.max(1) as f64;
            if width < NARROWEST || flames.len() >= MAX_BOXES {
                left_out += 1;
                continue;
            }
            flames.push(Flame {
                name: name.clone(),
                x,
                width,
                depth,
                weight,
            });
            pending.push((child, x, depth + 1));
            x += width;
        }
    }
    (flames, total, left_out)
}

fn add(nodes: &mut [Node], index: usize, weight: u64) {
    if let Some(node) = nodes.get_mut(index) {
        node.weight = node.weight.saturating_add(weight);
    }
}

fn child(nodes: &mut Vec<Node>, parent: usize, name: &str) -> usize {
    let next = nodes.len();
    let Some(node) = nodes.get_mut(parent) else {
        return parent;
    };
    let index = *node.children.entry(name.to_owned()).or_insert(next);
    if index == next {
        nodes.push(Node::default());
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_add_up_and_deep_stacks_keep_their_lock() {
        let deep = "f;".repeat(100);
        let (flames, total, left_out) = layout(&format!("p;a;[l] 30\np;b;[l] 60\n{deep}[m] 10\n"));
        assert_eq!(total, 100);
        let width = |name: &str, depth| -> f64 {
            let same = |flame: &&Flame| flame.name == name && flame.depth == depth;
            flames.iter().filter(same).map(|flame| flame.width).sum()
        };
        assert!((width("p", 0) - WIDTH * 0.9).abs() < 0.01);
        assert!((width("[l]", 2) - WIDTH * 0.9).abs() < 0.01);
        assert!((width("[m]", MAX_DEPTH - 1) - WIDTH * 0.1).abs() < 0.01);
        assert_eq!(left_out, 100 - (MAX_DEPTH as u64 - 1));
    }

    #[test]
    fn there_is_a_most_number_of_boxes() {
        let lines: String = (0..1_000_000_u32)
            .step_by(100)
            .map(|n| format!("p;f{n};[l] 1\n"))
            .collect();
        let (flames, _, left_out) = layout(&lines);
        assert!(flames.len() <= MAX_BOXES);
        assert_eq!(flames.len() as u64 + left_out, 10_001);
    }
}
