// The filters: rows that have every word and every choice, and lie in the frame of the map.
const filters = document.getElementById("filters");
const frame = { left: -Infinity, right: Infinity, bottom: -Infinity, top: Infinity };
const isFramed = () => Object.values(frame).some(Number.isFinite);
const isInFrame = ({ x, y }) => {
  if (!isFramed()) return true;
  const [across, up] = [x, y].map((text) => (text ? Number(text) : NaN));
  return frame.left <= across && across <= frame.right && frame.bottom <= up && up <= frame.top;
};
const isChosen = (data) => [...(filters?.querySelectorAll("select") ?? [])]
  .every(({ name, value }) => !value || `=${data[name] ?? ""}` === value);

const copyIds = (details, ids) => {
  details.querySelector("textarea").value = ids.join("\n");
  details.hidden = ids.length === 0;
  details.querySelector("button").textContent = ids.length === 1 ? "Copy 1 id" : `Copy ${ids.length} ids`;
};
for (const details of document.querySelectorAll(".ids")) {
  const button = document.createElement("button");
  const field = details.querySelector("textarea");
  button.type = "button";
  details.append(button);
  button.addEventListener("click", async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      document.execCommand("copy"); // where the page may not write to the clipboard by itself
    }
    button.textContent = "Copied";
  });
}

const rows = [...document.querySelectorAll("table[data-filtered] tbody tr")].map((row) => ({
  row,
  text: [row, row.closest("details")?.querySelector("summary")].map((part) => part?.textContent).join(" ").toLowerCase(),
}));
const folded = [...document.querySelectorAll("details:has(table[data-filtered])")];
const filterRows = () => {
  const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const { row, text } of rows) {
    row.hidden = !(words.every((word) => text.includes(word)) && isChosen(row.dataset) && isInFrame(row.dataset));
    shown += !row.hidden;
  }
  const isFiltered = shown < rows.length;
  for (const each of folded) {
    const found = each.querySelector("tbody tr:not([hidden])") !== null;
    each.hidden = !found;
    each.open = words.length > 0 && found;
  }
  document.getElementById("shown").textContent = isFiltered ? `${shown} of ${rows.length} rows` : "";
  listIds();
};
const listIds = () => {
  for (const details of document.querySelectorAll("#examples .ids")) {
    const listed = details.previousElementSibling.querySelectorAll("tbody tr:not([hidden])[data-id]");
    copyIds(details, [...listed].map((row) => row.dataset.id));
  }
};
if (filters) {
  filters.classList.add("ready");
  for (const kind of ["input", "change"]) {
    filters.addEventListener(kind, (event) => {
      if (!event.target.dataset.layer) document.dispatchEvent(new Event("filtered"));
    });
  }
  document.addEventListener("filtered", filterRows);
  document.addEventListener("sorted", listIds);
  listIds();
}

// Layers over images: every box of a layer switches it everywhere.
for (const box of document.querySelectorAll("[data-layer]")) {
  box.checked = true;
  box.addEventListener("input", () => {
    root.classList.toggle(`without-${box.dataset.layer}`, !box.checked);
    for (const same of document.querySelectorAll(`[data-layer="${box.dataset.layer}"]`)) same.checked = box.checked;
  });
}

// Enlarging: a copy of the row's pictures, name and curve in a dialog. Arrow keys lead on through the rows that are shown.
const enlarged = document.getElementById("enlarged");
let current = null;
const enlarge = (row) => {
  current = row;
  const [pictures, over] = [".picture", ".over"].map((part) => enlarged.querySelector(part));
  pictures.replaceChildren(row.querySelector(".pictures").cloneNode(true));
  const image = pictures.querySelector("img");
  pictures.style.setProperty("--shape", image.width / image.height);
  const curve = row.querySelector(".curve");
  over.replaceChildren(...(curve ? [curve.cloneNode(true)] : []));
  const [name, facts] = enlarged.querySelectorAll(".facts b, .facts span");
  name.textContent = row.querySelector(".example").dataset.value;
  const cells = [...row.cells].filter((cell) => cell.dataset.label && !cell.matches(".over"));
  enlarged.querySelector(".said").textContent = row.querySelector(".said")?.textContent ?? "";
  pictures.classList.toggle("pixels", image.width < 200);
  facts.textContent = cells.map((cell) => `${cell.dataset.label.toLowerCase()} ${cell.textContent.trim()}`).join(", ");
  if (!enlarged.open) enlarged.showModal();
};
const large = () => [...document.querySelectorAll("tbody tr:not([hidden]):has(.pictures.large)")]
  .filter((row) => row.checkVisibility());
const go = (step) => {
  const found = large();
  const next = found[found.indexOf(current) + step];
  if (next) enlarge(next);
};
for (const pictures of document.querySelectorAll(".pictures.large")) {
  const button = document.createElement("button");
  const row = pictures.closest("tr");
  button.type = "button";
  button.className = "enlarge";
  button.setAttribute("aria-label", `Enlarge ${row.querySelector(".example").dataset.value}`);
  pictures.replaceWith(button);
  button.append(pictures);
  button.addEventListener("click", () => enlarge(row));
}
for (const button of enlarged.querySelectorAll("[data-go]")) {
  button.addEventListener("click", () => go(Number(button.dataset.go)));
}
enlarged.addEventListener("keydown", ({ key }) => {
  if (key === "ArrowLeft" || key === "ArrowRight") go(key === "ArrowLeft" ? -1 : 1);
});
enlarged.addEventListener("click", (event) => { if (event.target === enlarged) enlarged.close(); });
enlarged.addEventListener("close", () => current?.querySelector(".enlarge")?.focus());
