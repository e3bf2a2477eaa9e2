const dialog = one("dialog");
const content = one(".content", dialog);
let shownCell = null;
let opener = null;

const fact = (name, value) => (value === null || value === "" ? null : h("div", {}, h("dt", {}, name), h("dd", {}, value)));
const interval = ([middle, low, high]) => (low === null && high === null ? exact(middle)
  : `${exact(middle)} [${low === null ? "−∞" : exact(low)}, ${high === null ? "∞" : exact(high)}]`);

const quick = (cell) => {
  const [decided, holding, units, groups] = cell.counts;
  const [p, holm] = cell.p;
  return h("dl", { class: "quick" },
    fact(`${cell.middle} effect [95%]`, cell.estimate[0] === null && cell.estimate[1] === null ? "none" : interval(cell.estimate)),
    fact("the claim", `${text(cell.bounds)}${text(cell.unit) ? ` (${text(cell.unit)})` : ""}`),
    fact("this verdict stays with a", text(cell.stays)),
    fact("groups of runs", `${groups} measured, ${decided} decided, ${holding} hold`),
    fact("independent replicates", units),
    fact("seeds that would decide", cell.seeds),
    fact("p, one-sided", p === null ? null : number(p)),
    fact("p after Holm's correction", holm === null ? null : number(holm)));
};

// One column per group; gates and criteria that all groups share stand in one row each.
const groupTable = (cell, colour) => {
  const body = [];
  const row = (name, need, values) => body.push(h("tr", {}, h("th", { scope: "row" }, name, need ? h("small", {}, need) : null),
    ...values.map((v) => h("td", {}, v))));
  const kind = (name) => body.push(h("tr", { class: "kind" }, h("th", { colspan: cell.groups.length + 1, scope: "rowgroup" }, name)));
  const sure = (met) => h("span", { class: met ? "good" : "bad" }, met ? "✓" : "✗");
  row("state", "", cell.groups.map((g) => g.state));
  if (cell.groups.some((g) => g.message)) row("message", "", cell.groups.map((g) => (g.message === undefined ? "" : crop(text(g.message), 60))));
  row("effect", text(cell.unit), cell.groups.map((g) => (g.effect === undefined ? "–" : `${g.censored ? "> " : ""}${exact(g.effect)}`)));
  if (cell.groups.some((g) => g.label !== undefined && text(g.label))) row("what was seen", "", cell.groups.map((g) => (g.label === undefined ? "" : crop(text(g.label), 40))));
  row("decided", "all gates met", cell.groups.map((g) => (g.decided === undefined ? "–" : sure(g.decided))));
  row("holds", "effect and criteria", cell.groups.map((g) => (g.decided ? sure(g.holds) : "–")));
  for (const [field, title] of [["gates", "Gates: unmet, the run could not have shown it"], ["criteria", "Criteria: unmet, it counts against the claim"]]) {
    const keys = new Map();
    for (const g of cell.groups) for (const [name, needs] of g[field] ?? []) keys.set(`${name} ${needs}`, [name, needs]);
    if (keys.size) kind(title);
    for (const [name, needs] of keys.values()) {
      row(text(name), `needs ${text(needs)}`, cell.groups.map((g) => {
        const found = (g[field] ?? []).find((c) => c[0] === name && c[1] === needs);
        return found ? h("span", {}, sure(found[3]), ` ${exact(found[2])}`) : "–";
      }));
    }
  }
  const names = [...new Set(cell.groups.flatMap((g) => (g.details ?? []).map(([name]) => name)))];
  if (names.length) kind("Secondary numbers");
  for (const name of names) row(text(name), "", cell.groups.map((g) => number((g.details ?? []).find((d) => d[0] === name)?.[1] ?? null)));
  const head = h("tr", {}, h("td"), ...cell.groups.map((g) => h("th", { scope: "col" }, crop(text(g.key), 24))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Groups of runs" },
    h("table", { class: "groups" }, h("thead", {}, head), h("tbody", {}, ...body)));
};

const swatch = (verdict) => {
  const known = one(`.swatch[class~="v-${CSS.escape(verdict.replaceAll(" ", "-"))}"], .chip[class~="v-${CSS.escape(verdict.replaceAll(" ", "-"))}"] b`);
  return h("b", { class: `swatch v-${verdict.replaceAll(" ", "-")}`, "aria-hidden": "true" }, known ? known.textContent : "");
};

const commandOf = (cell) => {
  if (!cell.command.length) return h("p", {}, "Controls run beside every cell of their phenomenon: the command of any of its cells repeats this one.");
  const code = h("pre", { class: "command", tabindex: "0" }, ...cell.command.flatMap((word, i) => [i ? " " : "", h("span", {}, word)]));
  const button = h("button", { type: "button", class: "copy" }, "copy");
  button.addEventListener("click", () => {
    const range = document.createRange();
    range.selectNodeContents(code);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    const done = () => button.replaceChildren("copied");
    if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(done, () => button.replaceChildren("selected"));
    else button.replaceChildren("selected");
  });
  return h("div", {}, code, button);
};

const RESULTS = {
  passed: "Passed.",
  failed: "Failed: cells of this claim are invalid.",
  "not exercised": "Not exercised: it tells nothing, and its claim is not validated.",
};

const draw = (cell) => {
  const width = Math.max(280, Math.min(700, content.clientWidth - parseFloat(getComputedStyle(content).paddingLeft) * 2));
  const few = cell.groups.length <= 7;
  const colour = (group) => (few ? `s${cell.groups.indexOf(group)}` : "many");
  const parts = [];
  const add = (...nodes) => parts.push(...nodes.filter((node) => node !== null));
  add(h("h2", { id: "panel-title" }, `${crop(text(cell.title), 120)} · ${crop(text(cell.claim), 120)}`),
    h("p", { class: "where" }, crop(text(cell.architecture), 400), " on ", crop(text(cell.task), 400), ` (data: ${text(cell.tier)})`),
    h("p", { class: "verdict" }, swatch(cell.verdict), cell.verdict,
      cell.raw === cell.verdict ? null : h("span", {}, `alone: ${cell.raw}`)),
    h("p", { class: "reason" }, crop(text(cell.reason), 2000)));
  if (cell.control !== null) add(h("p", { class: "flag" }, `${text(cell.control)}. Expected: ${cell.expects}. ${RESULTS[cell.result]}`));
  else if (!cell.counted) add(h("p", { class: "flag" }, cell.repeated ? "Of the same runs as another cell, and counted there." : "The setting of a control: decided, but not counted in the table."));
  if (cell.groups.length) {
    add(quick(cell), h("h3", {}, "Effect of each group of runs"), effects(cell, colour, width),
      h("ul", { class: "key" }, h("li", {}, h("i", { class: "bandkey" }), `claim: ${text(cell.bounds)}`),
        h("li", {}, "filled: decided; open: a gate was not met; triangle: censored, a lower bound")));
    add(...chartsOf(cell, colour, few, width));
    add(h("h3", {}, "Gates, criteria and numbers"), groupTable(cell, colour));
  }
  const ids = cell.groups.flatMap((g) => g.runs.map(([role, run]) => `${text(g.key)} / ${text(role)}: ${text(run)}`));
  if (cell.command.length || cell.control !== null) add(h("h3", {}, cell.control === null ? "Run this cell again" : "Run this control again"), commandOf(cell));
  add(h("h3", {}, "Identity"), h("ul", { class: "ids" }, h("li", {}, `measurement ${cell.id}, claim version ${cell.version}`)),
    ids.length ? h("details", {}, h("summary", {}, `${ids.length} runs, by group and role`), h("ul", { class: "ids" }, ...ids.map((id) => h("li", {}, id)))) : null);
  content.replaceChildren(...parts);
};

// Neighbours are the cells that filters leave, in reading order; a control has none.
const neighbours = () => shownButtons().map((button) => Number(button.dataset.i));
const show = (index) => {
  const cell = data("cell-data").cells[index];
  if (!cell) return;
  shownCell = index;
  if (!dialog.open) dialog.showModal();
  draw(cell);
  content.scrollTop = dialog.scrollTop = 0;
  const order = neighbours();
  const place = order.indexOf(index);
  one(".previous", dialog).disabled = place <= 0;
  one(".next", dialog).disabled = place < 0 || place === order.length - 1;
  one(".place", dialog).textContent = place < 0 ? "" : `${place + 1} of ${order.length} shown`;
  remember();
};
const step = (by) => {
  const order = neighbours();
  const next = order[order.indexOf(shownCell) + by];
  if (next === undefined || !order.includes(shownCell)) return;
  show(next);
  opener = one(`.cell[data-i="${next}"]`);
};
const open = (button) => {
  opener = button;
  show(Number(button.dataset.i));
  content.focus({ preventScroll: true });
};

one(".previous", dialog).addEventListener("click", () => step(-1));
one(".next", dialog).addEventListener("click", () => step(1));
one(".close", dialog).addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
dialog.addEventListener("keydown", (event) => {
  if (event.target !== content) return;
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
dialog.addEventListener("close", () => {
  shownCell = null;
  remember();
  if (opener?.isConnected) {
    if (opener.classList.contains("cell")) rove(opener);
    reveal(opener);
    opener.focus();
  }
});
addEventListener("resize", () => shownCell !== null && draw(data("cell-data").cells[shownCell]));
document.addEventListener("click", (event) => {
  const button = event.target.closest(".cell, .open");
  if (button) open(button);
});
