// Choose a loss by problem, task, tag, package and words, from window.LOSSREG. It works from file://, too.
"use strict";

addEventListener("DOMContentLoaded", () => {
  const root = document.getElementById("chooser");
  if (!root) return;
  const { losses, problems, providers, tasks, empty } = LOSSREG;
  const tags = [...new Set(losses.flatMap((loss) => loss.tags))].filter((tag) => !tasks.includes(tag)).sort();

  // A group's buttons by their value. Losses need any of the chosen ones, and none of the negated; of tags all.
  const groups = {
    problem: { title: "What is the problem?", values: problems.map(({ key, title }) => [key, title]), has: (loss, key) => key in loss.places },
    task: { title: "Task", values: tasks.map((tag) => [tag, tag.replace("_", " ")]), has: (loss, tag) => loss.tags.includes(tag) },
    tag: { title: "Tags", values: tags.map((tag) => [tag, tag]), has: (loss, tag) => loss.tags.includes(tag), all: true, folded: true },
    provider: { title: "Packages", values: Object.entries(providers), has: (loss, name) => loss.provider === name, folded: true },
  };
  const MOST = 24; // losses that are shown at first
  const NEXT = { "": "yes", yes: "no", no: "" };
  const PRESSED = { "": "false", yes: "true", no: "mixed" };

  function make(name, properties = {}, ...children) {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  }

  function show(button, state) {
    button.dataset.state = state;
    button.setAttribute("aria-pressed", PRESSED[state]);
    button.setAttribute("aria-label", (state === "no" ? "not " : "") + button.dataset.title);
    button.textContent = (state === "no" ? "not: " : "") + button.dataset.title;
  }

  // One button of a group can be reached by Tab; the arrows lead to the others.
  function toolbar(name, { title, values }) {
    const bar = make("div");
    bar.setAttribute("role", "toolbar");
    bar.setAttribute("aria-label", title);
    for (const [value, text] of values) {
      const button = make("button", { type: "button", tabIndex: bar.childElementCount ? -1 : 0 });
      Object.assign(button.dataset, { group: name, value, title: text });
      show(button, "");
      button.onclick = () => { show(button, NEXT[button.dataset.state]); draw(); };
      bar.append(button);
    }
    bar.onfocusin = ({ target }) => { for (const each of bar.children) each.tabIndex = each === target ? 0 : -1; };
    bar.onkeydown = (event) => {
      const all = [...bar.children], at = all.indexOf(document.activeElement);
      const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      all.at(to % all.length).focus();
    };
    return bar;
  }

  const box = make("input", { type: "search", placeholder: "vessels, empty, recall, outline …" });
  box.setAttribute("aria-label", "Words");
  const advice = make("div"), count = make("p", { className: "count" }), list = make("ul");
  const clear = make("button", { type: "button", textContent: "Clear all" });
  const more = make("button", { type: "button", textContent: "Show the others" });
  count.setAttribute("role", "status");
  root.append(box);
  for (const [name, group] of Object.entries(groups)) {
    group.bar = toolbar(name, group);
    if (group.folded) root.append(make("details", {}, make("summary", { textContent: group.title }), group.bar));
    else root.append(make("h2", { textContent: group.title }), group.bar);
  }
  root.append(clear, advice, count, list, more);

  const chosen = (group, state) => [...group.bar.children].filter((each) => each.dataset.state === state).map((each) => each.dataset.value);

  function fits(loss) {
    return Object.values(groups).every((group) => {
      const yes = chosen(group, "yes"), has = (value) => group.has(loss, value);
      return (group.all ? yes.every(has) : !yes.length || yes.some(has)) && !chosen(group, "no").some(has);
    });
  }

  function draw() {
    const wanted = chosen(groups.problem, "yes");
    const searched = box.value.trim() ? search(box.value, losses, problems, empty) : { losses, problems: [] };
    const place = (loss) => Math.min(Infinity, ...wanted.filter((key) => key in loss.places).map((key) => loss.places[key]));
    const found = searched.losses.filter(fits);
    if (!box.value.trim()) found.sort((a, b) => Math.sign(place(a) - place(b)) || b.owned - a.owned || (a.name < b.name ? -1 : 1));
    const meant = problems.filter(({ key }) => wanted.includes(key) || searched.problems.slice(0, 3).some((each) => each.key === key));
    advice.replaceChildren(...meant.map(shownAdvice));
    count.textContent = `${found.length} of ${losses.length} losses`;
    list.replaceChildren(...found.slice(0, MOST).map(shownLoss));
    more.hidden = found.length <= MOST;
    more.onclick = () => {
      list.append(...found.slice(MOST).map(shownLoss));
      more.hidden = true;
      list.children[MOST].firstChild.focus();
    };
    remember();
  }

  function shownAdvice({ title, advice, page }) {
    const text = make("p", { innerHTML: advice });
    if (page) text.append(" ", make("a", { href: page, textContent: "How-to" }));
    return make("div", { className: "advice" }, make("strong", { textContent: title }), text);
  }

  function shownLoss(loss) {
    const link = make("a", { href: loss.link, textContent: loss.name });
    return make("li", {}, link, " ", make("small", { textContent: providers[loss.provider] }), make("p", { textContent: loss.summary }));
  }

  // The address holds the choice: ?problem=thin_structures&tag=-random&words=vessels
  function remember() {
    const query = new URLSearchParams();
    for (const [name, group] of Object.entries(groups)) {
      for (const value of chosen(group, "yes")) query.append(name, value);
      for (const value of chosen(group, "no")) query.append(name, `-${value}`);
    }
    if (box.value.trim()) query.set("words", box.value.trim());
    history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}${location.hash}`);
  }

  function recall() {
    const query = new URLSearchParams(location.search);
    box.value = query.get("words") ?? "";
    for (const [name, group] of Object.entries(groups)) {
      const values = query.getAll(name);
      for (const button of group.bar.children) {
        const { value } = button.dataset;
        show(button, values.includes(value) ? "yes" : values.includes(`-${value}`) ? "no" : "");
      }
      if (group.folded && values.length) group.bar.parentElement.open = true;
    }
    // Tags of a loss's page lead here as tags, although some are buttons of tasks.
    for (const tag of query.getAll("tag").filter((each) => tasks.includes(each))) {
      show([...groups.task.bar.children].find((each) => each.dataset.value === tag), "yes");
    }
  }

  box.oninput = draw;
  clear.onclick = () => {
    box.value = "";
    for (const { bar } of Object.values(groups)) for (const button of bar.children) show(button, "");
    draw();
    box.focus();
  };
  recall();
  draw();
});
