"use strict";
const root = document.documentElement;

// The theme: the system's until the button is pressed.
const theme = document.getElementById("theme");
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);
const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
theme.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
systemDark.addEventListener("change", nameTheme);
nameTheme();
theme.hidden = false;

// Sorting: a button in each heading, so that the keyboard reaches it. What is missing comes last either way.
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const keyOf = (row, column) => {
  const cell = row.cells[column];
  return cell.dataset.value ?? cell.textContent.trim();
};
const compare = (a, b, kind, sign) => {
  if (a === "" || b === "") return (a === "") - (b === "");
  return sign * (kind === "number" ? Number(a) - Number(b) : collator.compare(a, b));
};
const sortBy = (heading) => {
  const table = heading.closest("table");
  const kind = heading.dataset.sort;
  const first = kind === "number" ? "descending" : "ascending";
  const other = kind === "number" ? "ascending" : "descending";
  const order = heading.getAttribute("aria-sort") === first ? other : first;
  for (const each of table.tHead.querySelectorAll("[aria-sort]")) each.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const column = heading.cellIndex;
  const rows = [...table.tBodies[0].rows].map((row) => [keyOf(row, column), row]);
  rows.sort(([a], [b]) => compare(a, b, kind, sign));
  table.tBodies[0].append(...rows.map(([, row]) => row));
};
for (const heading of document.querySelectorAll("table.sortable th[data-sort]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...heading.childNodes);
  heading.append(button);
  button.addEventListener("click", () => sortBy(heading));
}

// The filter: rows that have every word. What is folded away opens where it has some.
const filter = document.getElementById("filter");
if (filter) {
  const rows = [...document.querySelectorAll("table[data-filtered] tbody tr")].map((row) => ({
    row,
    text: [row, row.closest("details")?.querySelector("summary")].map((part) => part?.textContent).join(" ").toLowerCase(),
  }));
  const folded = [...document.querySelectorAll("details:has(table[data-filtered])")];
  filter.closest(".tools").classList.add("ready");
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { row, text } of rows) {
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    for (const each of folded) {
      const found = each.querySelector("tbody tr:not([hidden])") !== null;
      each.hidden = !found;
      each.open = words.length > 0 && found;
    }
    document.getElementById("shown").textContent = words.length ? `${shown} of ${rows.length}` : "";
  });
}

// Readings: what the chart says where the pointer is.
for (const chart of document.querySelectorAll("figure.chart:has(.readings)")) {
  const axis = chart.querySelector(".axis");
  const usual = axis.textContent;
  for (const part of chart.querySelectorAll(".readings rect")) {
    part.addEventListener("pointerenter", () => { axis.textContent = part.textContent; });
  }
  chart.querySelector(".plot svg").addEventListener("pointerleave", () => { axis.textContent = usual; });
}

// On paper nothing is folded away.
addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("details")) each.open = true;
});
