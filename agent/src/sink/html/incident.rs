//! What a bundle says beyond its snapshot.

use super::markup::Html;
use crate::{
    model::Bundle,
    sink::{facts, table::timeline, text, units},
};

/// Most blocks of a line of the timeline.
const COLUMNS: usize = 60;
/// Most sentences about what was left out.
const NOTES: usize = 16;

pub fn write(html: &mut Html, bundle: &Bundle) {
    let incident = &bundle.incident;
    html.raw("<section id=\"incident\" aria-labelledby=\"incident-title\">\n");
    html.raw("<h2 id=\"incident-title\">The incident</h2>\n");
    html.leaf("p", &[("class", "headline")], &incident.text);
    let since = format!(
        "{} in {} ({}), since {}; taken at {} in {}.",
        incident.reason.as_str(),
        text::truncate_middle(&incident.comm, 32),
        incident.pid,
        incident.opened_at,
        bundle.taken_at,
        units::duration(bundle.limits.took_ns)
    );
    html.leaf("p", &[("class", "quiet")], &since);
    html.raw("<ul>\n");
    let process = bundle.process.as_ref().map(facts::process);
    let cgroup = bundle.cgroup.as_ref().map(facts::cgroup);
    let pressure = bundle.cgroup.as_ref().map(facts::pressure);
    let lines = [
        ("Workload", Some(facts::workload(&incident.workload))),
        ("Process", process),
        ("Control group", cgroup),
        ("Pressure", pressure),
        ("Agent", Some(facts::agent(bundle))),
    ];
    for (label, line) in lines {
        if let Some(line) = line.filter(|line| !line.is_empty()) {
            html.leaf("li", &[], &format!("{label}: {line}"));
        }
    }
    for note in bundle.limits.notes.iter().take(NOTES) {
        html.leaf("li", &[("class", "alarm")], &text::truncate_end(note, 400));
    }
    html.raw("</ul>\n");
    flight(html, bundle);
    html.raw("</section>\n");
}

fn flight(html: &mut Html, bundle: &Bundle) {
    let lines = timeline::lines(bundle, COLUMNS);
    if lines.is_empty() {
        return;
    }
    let length = units::duration(timeline::length_ns(bundle));
    html.leaf("h3", &[], &format!("The {length} before"));
    html.raw("<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Timeline\"><table>\n<thead><tr>");
    html.raw("<th scope=\"col\">Measure</th><th scope=\"col\">Oldest to newest</th><th scope=\"col\">Least and most</th>");
    html.raw("</tr></thead>\n<tbody>\n");
    for line in lines {
        html.raw("<tr>");
        html.inline("th", &[("scope", "row")], line.label);
        html.raw("<td><code>");
        // Browsers would fold spaces.
        html.text(&line.bars.replace(' ', "\u{a0}"));
        html.raw("</code></td>");
        html.inline("td", &[], &line.range);
        html.raw("</tr>\n");
    }
    html.raw("</tbody></table></div>\n");
}
