"use strict";
// What was laid out, and what a keyboard can do with it. Ends up in the page as JSON.
const all = (selector) => [...document.querySelectorAll(selector)];
const isSeen = (element) => {
  const box = element.getBoundingClientRect();
  return box.width > 0 && box.height > 0;
};
const seen = (selector) => all(selector).filter(isSeen).length;
const named = (element) => `${element.tagName} ${element.textContent.trim().slice(0, 40)}`;

const root = document.documentElement;
const isTooWide = root.scrollWidth > root.clientWidth;

// Every path is opened first: what is hidden cannot be reached, and need not be.
let stuckDetails = 0;
for (const details of all("details")) {
  const before = details.open;
  details.querySelector("summary").click();
  if (details.open === before) stuckDetails += 1;
  details.open = true;
}
const reachable = all("a[href], button, summary, [tabindex]");
const outOfReach = reachable.filter((element) => {
  element.focus();
  return document.activeElement !== element || element.tabIndex !== 0;
});

const badLinks = all("[href], [src]").map((element) => element.getAttribute("href") ?? element.getAttribute("src"))
  .filter((target) => !target.startsWith("#") || !document.getElementById(target.slice(1)));

const stuckHeadings = [];
for (const table of all("table.sortable")) {
  for (const heading of table.tHead.rows[0].cells) {
    const order = [];
    for (let click = 0; click < 2; click += 1) {
      heading.querySelector("button").click();
      order.push(heading.getAttribute("aria-sort"));
    }
    const column = heading.cellIndex;
    const values = [...table.tBodies[0].rows].map((row) => row.cells[column])
      .map((cell) => heading.classList.contains("number") ? Number(cell.dataset.value) : cell.textContent);
    const sign = order[1] === "ascending" ? 1 : -1;
    const compare = (a, b) => typeof a === "number" ? a - b : a.localeCompare(b);
    const isSorted = values.every((value, row) => row === 0 || sign * compare(values[row - 1], value) <= 0);
    if (order[0] === order[1] || !order[0] || !order[1] || !isSorted) stuckHeadings.push(named(heading));
  }
}

// Contrast as WCAG 2 defines it.
const channels = (color) => color.match(/[0-9.]+/g).map(Number);
const luminance = (color) => {
  const linear = channels(color).slice(0, 3).map((value) => value / 255)
    .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
};
const isOpaque = (color) => (channels(color)[3] ?? 1) > 0;
const ground = (element) => {
  let at = element;
  while (at && !isOpaque(getComputedStyle(at).backgroundColor)) at = at.parentElement;
  return at ? getComputedStyle(at).backgroundColor : "rgb(255, 255, 255)";
};
const faint = new Set();
for (const element of all("body *")) {
  const hasText = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  const inFlame = element.closest("svg");
  if (!hasText || !isSeen(element) || (inFlame && element.tagName !== "text")) continue;
  const style = getComputedStyle(element);
  const box = inFlame && element.parentElement.querySelector("rect");
  const pair = inFlame ? [style.fill, getComputedStyle(box).fill] : [style.color, ground(element)];
  const [low, high] = pair.map(luminance).sort((a, b) => a - b);
  const contrast = (high + 0.05) / (low + 0.05);
  if (contrast < 4.5) faint.add(`${element.tagName}.${element.className} ${contrast.toFixed(2)}`);
}

const found = {
  width: window.innerWidth,
  is_too_wide: isTooWide,
  chain_links: seen(".chain li"),
  bars: seen(".bars rect"),
  flames: seen(".flame rect"),
  thread_rows: seen("section[aria-labelledby=threads-title] table.sortable tbody tr"),
  lock_rows: seen("section[aria-labelledby=locks-title] table.sortable tbody tr"),
  out_of_reach: outOfReach.map(named),
  within_reach: reachable.length,
  bad_links: badLinks,
  stuck_details: stuckDetails,
  stuck_headings: stuckHeadings,
  requests: performance.getEntriesByType("resource").map((entry) => entry.name),
  ground: luminance(getComputedStyle(document.body).backgroundColor),
  faint: [...faint],
};
const note = document.createElement("pre");
note.id = "probe";
note.textContent = JSON.stringify(found);
document.body.append(note);
