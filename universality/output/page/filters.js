const form = one(".filters");
const state = { phenomenon: "", architecture: "", task: "", tier: new Set(), outcome: new Set(), verdict: new Set() };
const outcomes = { present: "decided", absent: "decided", inconclusive: "undecided", invalid: "undecided" };

const grids = all(".panel").map((panel) => {
  const table = one("table", panel);
  const [tasks, columns] = all("thead tr", table);
  return {
    panel,
    phenomenon: panel.dataset.phenomenon,
    tasks: all("th", tasks),
    columns: all("th", columns),
    rows: all("tbody tr", table).map((tr) => ({ tr, name: tr.dataset.architecture, cells: all("td", tr).map((td) => ({ td, button: td.firstElementChild })) })),
  };
});
const buttons = grids.flatMap((grid) => grid.rows.flatMap((row) => row.cells.flatMap((cell) => cell.button ?? [])));
const isShown = (button) => !button.parentElement.classList.contains("off") && !button.closest("[hidden]");
const shownButtons = () => buttons.filter(isShown);

const apply = () => {
  let count = 0;
  for (const grid of grids) {
    const columns = grid.columns.map(() => false);
    const wanted = !state.phenomenon || state.phenomenon === grid.phenomenon;
    let any = false;
    for (const row of grid.rows) {
      let filled = false;
      row.cells.forEach(({ td, button }, j) => {
        const verdict = button?.dataset.v;
        const shown = wanted && button !== null
          && (!state.architecture || state.architecture === row.name)
          && (!state.task || state.task === grid.columns[j].dataset.task)
          && (!state.verdict.size || state.verdict.has(verdict))
          && (!state.tier.size || state.tier.has(grid.columns[j].dataset.tier))
          && (!state.outcome.size || state.outcome.has(outcomes[verdict] ?? "not measured"));
        td.classList.toggle("off", !shown);
        count += shown;
        filled ||= shown;
        columns[j] ||= shown;
      });
      row.tr.hidden = !filled;
      any ||= filled;
    }
    grid.panel.hidden = !any;
    grid.columns.forEach((th, j) => (th.hidden = !columns[j]));
    for (const row of grid.rows) row.cells.forEach(({ td }, j) => (td.hidden = !columns[j]));
    for (const th of grid.tasks) {
      const width = grid.columns.filter((column, j) => columns[j] && column.dataset.task === th.dataset.task).length;
      th.hidden = width === 0;
      th.colSpan = Math.max(1, width);
    }
    const first = grid.rows.flatMap((row) => row.cells).find(({ button }) => button && isShown(button));
    if (first) rove(first.button);
  }
  one("output", form).textContent = `${count} of ${buttons.length} cells`;
  one(".none").hidden = count > 0;
  for (const select of all("select", form)) select.value = state[select.name];
  for (const toggle of all(".toggle", form)) toggle.setAttribute("aria-pressed", state[toggle.dataset.filter].has(toggle.dataset.value));
};

// What somebody asked for is not left in a folded table.
const showFound = () => {
  const asked = Object.values(state).some((value) => (value instanceof Set ? value.size : value));
  if (asked) for (const { panel } of grids) if (!panel.hidden) reveal(panel);
};

// One stop of the tab key per table; arrows move within it.
const rove = (button) => {
  for (const other of all(".cell[tabindex='0']", button.closest("table"))) other.tabIndex = -1;
  button.tabIndex = 0;
};
const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
document.addEventListener("keydown", (event) => {
  const button = event.target.closest?.(".cell");
  if (!button || event.altKey || event.ctrlKey || event.metaKey) return;
  const grid = grids.find((g) => g.panel.contains(button));
  const line = all(".cell", button.closest("tr")).filter(isShown);
  let next = null;
  if (event.key === "Home") next = line[0];
  else if (event.key === "End") next = line[line.length - 1];
  else if (event.key in moves) {
    const [down, right] = moves[event.key];
    let i = grid.rows.findIndex((row) => row.tr === button.closest("tr"));
    let j = grid.rows[i].cells.findIndex((cell) => cell.button === button);
    do {
      [i, j] = [i + down, j + right];
      next = grid.rows[i]?.cells[j]?.button;
    } while (grid.rows[i]?.cells[j] && !(next && isShown(next)));
  } else return;
  event.preventDefault();
  if (!next) return;
  rove(next);
  next.focus();
});

// The state of filters and of the open cell is kept in the address.
const remember = () => {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) {
    const words = value instanceof Set ? [...value].join(",") : value;
    if (words) found.set(name, words);
  }
  if (shownCell !== null) found.set("cell", data("cell-data").cells[shownCell].id);
  const hash = String(found);
  if (hash !== location.hash.slice(1)) history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
};
const recall = () => {
  const found = new URLSearchParams(location.hash.slice(1));
  if (location.hash && ![...found.keys()].some((key) => key in state || key === "cell")) return;
  for (const name of ["phenomenon", "architecture", "task"]) {
    const wanted = found.get(name) ?? "";
    state[name] = [...form.elements[name].options].some((option) => option.value === wanted) ? wanted : "";
  }
  for (const name of ["tier", "outcome", "verdict"]) {
    const known = new Set(all(`.toggle[data-filter="${name}"]`, form).map((toggle) => toggle.dataset.value));
    state[name] = new Set((found.get(name) ?? "").split(",").filter((word) => known.has(word)));
  }
  apply();
  showFound();
  const wanted = found.get("cell");
  const index = wanted ? data("cell-data").cells.findIndex((cell) => cell.id === wanted) : -1;
  if (index >= 0) open(one(`[data-i="${index}"]`));
};

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("change", (event) => {
  state[event.target.name] = event.target.value;
  apply();
  showFound();
  remember();
});
form.addEventListener("click", (event) => {
  const toggle = event.target.closest(".toggle");
  if (toggle) {
    const chosen = state[toggle.dataset.filter];
    if (!chosen.delete(toggle.dataset.value)) chosen.add(toggle.dataset.value);
  } else if (event.target.closest(".reset")) {
    for (const name of ["phenomenon", "architecture", "task"]) state[name] = "";
    for (const name of ["tier", "outcome", "verdict"]) state[name].clear();
  } else return;
  apply();
  showFound();
  remember();
});
for (const link of all("nav a, .tally a, .skip")) link.addEventListener("click", (event) => {
  event.preventDefault();
  const section = one(link.getAttribute("href"));
  reveal(section);
  section.scrollIntoView();
  section.focus({ preventScroll: true });
});
addEventListener("hashchange", recall);
addEventListener("beforeprint", () => all("details").forEach((element) => (element.open = true)));
for (const button of buttons) button.tabIndex = -1;
form.hidden = false;
apply();
recall();
