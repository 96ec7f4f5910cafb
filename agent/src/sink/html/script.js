"use strict";
// Sorting by a click on a heading, and opening all call paths. Everything can be read without it.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headings = table.tHead.rows[0].cells;
  for (const heading of headings) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const column = heading.cellIndex;
      const isNumber = heading.classList.contains("number");
      const before = heading.getAttribute("aria-sort");
      const order = (before ? before !== "descending" : isNumber) ? "descending" : "ascending";
      const sign = order === "ascending" ? 1 : -1;
      const value = (row) => row.cells[column];
      const compare = (a, b) => isNumber
        ? Number(value(a).dataset.value) - Number(value(b).dataset.value)
        : value(a).textContent.localeCompare(value(b).textContent);
      body.append(...[...body.rows].sort((a, b) => sign * compare(a, b)));
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", order);
    });
  }
}
const paths = document.querySelectorAll("details");
if (paths.length > 1) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Open all call paths";
  button.addEventListener("click", () => {
    const open = [...paths].some((path) => !path.open);
    for (const path of paths) path.open = open;
    button.textContent = open ? "Close all call paths" : "Open all call paths";
  });
  const tools = document.createElement("p");
  tools.className = "tools";
  tools.append(button);
  document.querySelector("header").append(tools);
}
window.addEventListener("beforeprint", () => { for (const path of paths) path.open = true; });
