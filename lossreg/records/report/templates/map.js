// The frame of the data map: drawn with the pointer, or written as numbers. It filters the lists, and gives the ids in it.
const map = document.getElementById("map");
if (map) {
  const drawing = map.querySelector(".plot svg");
  const edges = Object.fromEntries(["left", "right", "bottom", "top"].map((edge) => [edge, Number(drawing.dataset[edge])]));
  const brush = map.querySelector(".brush");
  const fields = map.querySelector("form");
  const whole = fields.querySelector("[type=reset]");
  const parts = [...map.querySelectorAll("[data-x]")];
  const ids = map.querySelector(".ids");
  const wide = edges.right - edges.left;
  const high = edges.top - edges.bottom;
  const clamp = (value, low, up) => Math.min(Math.max(value, low), up);
  const placeX = (value) => clamp(1000 * (value - edges.left) / wide, 0, 1000);
  const placeY = (value) => clamp(100 * (edges.top - value) / high, 0, 100);

  const drawFrame = () => {
    const [x, right, y, bottom] = [placeX(frame.left), placeX(frame.right), placeY(frame.top), placeY(frame.bottom)];
    for (const [name, value] of Object.entries({ x, y, width: right - x, height: bottom - y })) brush.setAttribute(name, value);
    brush.toggleAttribute("hidden", !isFramed());
    whole.hidden = !isFramed();
  };
  const count = () => {
    const cells = parts.filter((part) => part.dataset.count);
    const dots = parts.filter((part) => !part.dataset.count && isChosen(part.dataset));
    const inside = dots.filter((dot) => isInFrame(dot.dataset));
    for (const dot of dots) dot.classList.toggle("outside", !isInFrame(dot.dataset));
    for (const dot of parts.filter((part) => !part.dataset.count)) dot.toggleAttribute("hidden", !isChosen(dot.dataset));
    const sum = (some) => some.reduce((total, cell) => total + Number(cell.dataset.count), 0);
    const [found, all, about] = cells.length
      ? [sum(cells.filter((cell) => isInFrame(cell.dataset))), sum(cells), "about "]
      : [inside.length, dots.length, ""];
    fields.querySelector("output").textContent = isFramed()
      ? `${about}${found.toLocaleString("en")} of ${all.toLocaleString("en")} examples in the frame` : "";
    copyIds(ids, isFramed() ? inside.map((dot) => dot.dataset.id).filter(Boolean) : []);
  };
  const useFrame = () => {
    drawFrame();
    document.dispatchEvent(new Event("filtered"));
  };
  document.addEventListener("filtered", count);

  // With the pointer.
  let start = null;
  const placeOf = (event) => {
    const box = drawing.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    return [edges.left + wide * clamp(x, 0, 1), edges.top - high * clamp(y, 0, 1)];
  };
  const rounded = (value, span) => Number(value.toFixed(Math.max(0, 3 - Math.floor(Math.log10(span)))));
  const span = ([x, y]) => {
    const [left, right] = [start[0], x].sort((a, b) => a - b);
    const [bottom, top] = [start[1], y].sort((a, b) => a - b);
    // At the border, where points beyond it are drawn, a frame has no end.
    frame.left = left <= edges.left ? -Infinity : rounded(left, wide);
    frame.right = right >= edges.right ? Infinity : rounded(right, wide);
    frame.bottom = bottom <= edges.bottom ? -Infinity : rounded(bottom, high);
    frame.top = top >= edges.top ? Infinity : rounded(top, high);
  };
  const showFields = () => {
    for (const edge in frame) fields.elements[edge].value = Number.isFinite(frame[edge]) ? frame[edge] : "";
  };
  drawing.addEventListener("pointerdown", (event) => {
    start = placeOf(event);
    drawing.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  drawing.addEventListener("pointermove", (event) => {
    if (!start) return;
    span(placeOf(event));
    drawFrame();
  });
  const end = (event) => {
    if (!start) return;
    const [x, y] = placeOf(event);
    const isClick = Math.abs(x - start[0]) < wide / 200 && Math.abs(y - start[1]) < high / 100;
    if (isClick || event.type === "pointercancel") Object.assign(frame, { left: -Infinity, right: Infinity, bottom: -Infinity, top: Infinity });
    else span([x, y]);
    start = null;
    showFields();
    useFrame();
  };
  drawing.addEventListener("pointerup", end);
  drawing.addEventListener("pointercancel", end);

  // As numbers.
  fields.classList.add("ready");
  fields.reset();
  fields.addEventListener("submit", (event) => event.preventDefault());
  const readFields = () => {
    for (const [edge, none] of [["left", -Infinity], ["bottom", -Infinity], ["right", Infinity], ["top", Infinity]]) {
      const { value } = fields.elements[edge];
      frame[edge] = value === "" ? none : Number(value);
    }
    useFrame();
  };
  fields.addEventListener("input", readFields);
  fields.addEventListener("reset", () => setTimeout(readFields));
  count();
}
