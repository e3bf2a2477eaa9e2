// What a claim declares, one function for each kind of chart. Each returns an element to show, the text above it and
// the entries of its key, or null where there is nothing to draw.
const swatchOf = (kind, line = "") => h("i", { class: `${kind} ${line}`.trim() });
const entry = (mark, name) => h("li", {}, mark, crop(name, 60));
const groupEntries = (cell, colour, few) => (few ? cell.groups.map((g) => entry(swatchOf(colour(g)), text(g.key))) : []);

// Series over steps. Without limits of the chart, spikes beyond the bulk are cut, and the key says so.
const linesOf = (chart, _, cell, colour, few, width) => {
  const runs = data("run-data");
  const names = chart.series.map(([name]) => name);
  const found = [];
  const seen = new Set();
  for (const group of cell.groups) for (const [role, index] of group.runs) {
    const id = text(index);
    const run = seen.has(id) ? undefined : runs[id];
    seen.add(id);
    if (run) for (const [name, [gaps, values]] of Object.entries(run.series)) {
      if (!names.includes(name) && name !== "train_loss") continue;
      let step = 0;
      found.push({ name, id, run, role: text(role), group, values, at: gaps.map((gap) => (step += gap)) });
    }
  }
  const declared = found.filter((l) => names.includes(l.name));
  const loss = !declared.length;
  const lines = loss ? found : declared;
  const [logX, logY] = loss ? [false, false] : [chart.log.includes("x"), chart.log.includes("y")];
  const usable = (v) => v !== null && (!logY || v > 0);
  const pool = lines.flatMap((l) => l.values).filter(usable).sort((a, b) => a - b);
  if (!pool.length) return null;
  const band = chart.band && !loss ? cell.band.map((v) => (usable(v) ? v : null)) : [null, null];
  const level = loss ? null : chart.level;
  const [limitLow, limitHigh] = loss ? [null, null] : [chart.low, chart.high];
  const [smallest, largest] = [pool[0], pool[pool.length - 1]];
  const edge = Math.max(pool[Math.floor((pool.length - 1) * 0.98)], band[1] ?? 0, level ?? 0) * 1.25;
  const spikes = !logY && smallest >= 0 && largest > 1.6 * edge;
  const ends = padded([smallest, spikes ? edge : largest, ...band, ...(level === null ? [] : [level])], logY);
  if (!logY && smallest >= 0) ends[0] = 0;
  if (limitLow !== null) ends[0] = limitLow;
  if (limitHigh !== null) ends[1] = limitHigh;
  if (!(ends[0] < ends[1])) ends[1] = ends[0] + 1;
  const first = logX ? Math.max(1, Math.min(...lines.map((l) => l.at.find((step) => step > 0) ?? 1))) : 0;
  const last = Math.max(first + 1, ...lines.map((l) => l.at[l.at.length - 1]));
  const f = frame((a, b) => scale(first, last, a, b, logX), (a, b) => scale(...ends, a, b, logY), width, 240,
    logX ? "step (logarithmic)" : "step", `${loss ? "Training loss" : chart.label} over steps, one line per run`);
  if (band[0] !== null || band[1] !== null) {
    const inside = (v) => Math.max(f.top, Math.min(f.bottom, f.y.at(v)));
    const [upper, lower] = [band[1] === null ? f.top : inside(band[1]), band[0] === null ? f.bottom : inside(band[0])];
    f.inside.append(s("rect", { class: "bandfill", x: f.left, y: upper, width: f.right - f.left, height: Math.max(0, lower - upper) }));
    for (const v of band) if (v !== null) f.inside.append(s("path", { class: "bandedge", d: `M${f.left} ${f.y.at(v)}H${f.right}` }));
  }
  if (level !== null) f.inside.append(s("path", { class: "theory", d: `M${f.left} ${f.y.at(level)}H${f.right}` }));
  for (const l of lines) {
    const points = l.values.map((v, i) => (!usable(v) ? null : l.at[i] < first ? undefined : [f.x.at(l.at[i]), f.y.at(v)]));
    const dashed = !loss && names.length > 1 && l.name === names[0] ? " second" : "";
    f.inside.append(s("path", { class: `line ${colour(l.group)}${dashed}`, d: pathOf(points.filter((p) => p !== undefined)) },
      s("title", {}, `${crop(l.role, 30)}, seed ${l.run.seed}, ${l.run.state}: ${crop(l.id, 80)}`)));
  }
  // Each group's effect at the end of the axis; beyond it, an arrow to where it lies.
  if (chart.band && !loss) for (const g of cell.groups) {
    if (!usable(g.effect ?? null)) continue;
    const [x, y] = [f.right + 3, Math.max(f.top, Math.min(f.bottom, f.y.at(g.effect)))];
    const shape = g.effect > ends[1] ? `M${x} ${y + 7}l4 -7l4 7z` : g.effect < ends[0] ? `M${x} ${y - 7}l4 7l4 -7z` : `M${x} ${y}l8 -4v8z`;
    f.svg.append(s("path", { class: `dot mark ${colour(g)}${g.decided ? "" : " open"}`, d: shape },
      s("title", {}, `${text(g.key)}: effect ${exact(g.effect)}`)));
  }
  const beyond = [largest > ends[1] * (1 + 1e-9) ? `reach ${number(largest)}` : "", smallest < ends[0] && limitLow !== null ? `begin at ${number(smallest)}` : ""].filter(Boolean);
  return {
    above: loss ? "training loss" : chart.label,
    shown: f.svg,
    key: [...groupEntries(cell, colour, few), few ? null : h("li", {}, `${new Set(lines.map((l) => l.id)).size} runs`),
      ...(names.length > 1 && !loss ? chart.series.map(([name, title], i) => entry(swatchOf("", i === 0 ? "second" : ""), title || name)) : []),
      level === null ? null : entry(swatchOf("theorykey"), chart.level_title || number(level)),
      one(".mark", f.svg) ? entry("◂ ", "effect of a group of runs") : null,
      beyond.length ? h("li", {}, `the axis is cut; lines ${beyond.join(" and ")}`) : null],
  };
};

// Numbers against numbers: lines of a sweep with the theory beside them, dots on y = x, or the outlines of histograms.
const pointsOf = (chart, drawn, cell, colour, few, width) => {
  const { lines, theory } = drawn;
  if (!lines.length && !theory) return null;
  const every = [...lines, ...(theory ? [theory] : [])];
  const titles = [...new Set(lines.map(([title]) => title))];
  const kind = ([title, group]) => (titles.length > 1 ? `s${titles.indexOf(title) % 7}` : colour(cell.groups[group]));
  const bars = chart.kind === "bars";
  let xs = bars ? drawn.edges.flat() : every.flatMap(([, , x]) => x);
  let ys = every.flatMap(([, , , y]) => y);
  if (chart.kind === "dots") xs = ys = [...xs, ...ys];
  if (bars && !chart.log.includes("y")) ys.push(0);
  const [logX, logY] = [chart.log.includes("x"), chart.log.includes("y")];
  const endsY = padded(ys, logY);
  if (bars && !logY && Math.min(...ys) >= 0) endsY[0] = 0;
  const f = frame((a, b) => scale(...padded(xs, logX), a, b, logX), (a, b) => scale(...endsY, a, b, logY), width, chart.kind === "dots" ? Math.min(width - 72, 340) : 240, chart.x, `${chart.y} over ${chart.x}`);
  if (chart.kind === "dots") {
    const [low, high] = padded(xs, logX);
    f.inside.append(s("path", { class: "theory", d: pathOf([low, high].map((v) => [f.x.at(v), f.y.at(v)])) }));
  }
  lines.forEach((line, i) => {
    const [title, index, x, y] = line;
    const group = cell.groups[index];
    const about = s("title", {}, [text(group.key), text(title), group.effect === null || group.effect === undefined ? "" : `effect ${exact(group.effect)}`].filter(Boolean).join(", "));
    const points = x.map((v, j) => [f.x.at(v), f.y.at(y[j])]);
    const look = `${kind(line)}${group.decided ? "" : " open"}`;
    if (bars) {
      const at = drawn.edges[i].map((v) => f.x.at(v));
      const base = Math.min(f.bottom, logY ? f.bottom : f.y.at(0));
      const outline = [[at[0], base], ...points.flatMap(([, v], j) => [[at[j], v], [at[j + 1], v]]), [at[at.length - 1], base]];
      f.inside.append(s("path", { class: `bars ${look}`, d: pathOf(outline) }, about));
      return;
    }
    if (chart.kind === "curves") f.inside.append(s("path", { class: `line ${kind(line)}`, d: pathOf(points) }, about));
    for (const [cx, cy] of points) f.inside.append(s("circle", { class: `dot small ${look}`, cx: cx.toFixed(1), cy: cy.toFixed(1), r: 3 }, about.cloneNode(true)));
  });
  if (theory) f.inside.append(s("path", { class: "theory", d: pathOf(theory[2].map((v, j) => [f.x.at(v), f.y.at(theory[3][j])])) }));
  return {
    above: chart.y,
    shown: f.svg,
    key: [...(titles.length > 1 ? titles.map((title, i) => entry(swatchOf(`s${i % 7}`), text(title) || chart.y)) : groupEntries(cell, colour, few)),
      chart.kind === "dots" ? entry(swatchOf("theorykey"), "y = x") : theory ? entry(swatchOf("theorykey"), text(theory[0])) : null,
      entry("effect: ", interval(cell.estimate))],
  };
};

// A row for each group: what was measured, what it is compared with, and what it must exceed.
const GLYPHS = ["M-3 -3h6v6h-6z", "M-3.5 -3.5l7 7m0 -7l-7 7", "M-4 0h8M0 -4v8", "M-4 -3l4 6l4 -6z", "M-4 3l4 -6l4 6z", "M0 -4l4 4l-4 4l-4 -4z"];
const glyph = (i, x, y, kind) => s("path", { class: `glyph ${kind}`, d: GLYPHS[i % GLYPHS.length], transform: `translate(${x} ${y})` });
const keyGlyph = (i, kind) => s("svg", { class: "keyglyph", viewBox: "-6 -6 12 12", width: 12, height: 12, "aria-hidden": "true" }, glyph(i, 0, 0, kind));
const levelsOf = (chart, drawn, cell, colour, few, width) => {
  const { rows } = drawn;
  if (!rows.length) return null;
  const named = rows.length <= 16;
  const keys = rows.map(([group]) => text(cell.groups[group].key));
  const left = named ? 14 + Math.max(6, ...keys.map((key) => Math.min(key.length, 16))) * 6.6 : 14;
  const high = named ? 19 : Math.max(5, Math.min(10, 300 / rows.length));
  const bottom = 8 + rows.length * high;
  const x = scale(...padded(rows.flatMap(([, value, nulls, needed]) => [value, needed, ...nulls]), false), left, width - 14, false);
  const svg = s("svg", { viewBox: `0 0 ${width} ${bottom + 38}`, width, height: bottom + 38, role: "img", "aria-label": `${chart.label}: ${chart.title} against what it must exceed, a row for each group of runs` });
  svg.append(s("path", { class: "axis", d: `M${left} ${bottom}H${width - 14}` }));
  for (const t of x.ticks) svg.append(s("path", { class: "axis", d: `M${x.at(t)} ${bottom}v4` }), label(x.at(t), bottom + 16, number(t)));
  svg.append(label((left + width - 14) / 2, bottom + 32, crop(chart.label, 80)));
  rows.forEach(([index, value, nulls, needed], i) => {
    const [group, y] = [cell.groups[index], 4 + (i + 0.5) * high];
    if (named) svg.append(label(left - 8, y + 4, ending(keys[i], 16), "end"));
    if (value !== null && needed !== null) svg.append(s("path", { class: `reach ${colour(group)}`, d: `M${x.at(needed)} ${y}H${x.at(value)}` }));
    nulls.forEach((v, j) => {
      if (v === null) return;
      const mark = glyph(j, x.at(v), y, "null");
      mark.append(s("title", {}, `${keys[i]}, ${chart.nulls[j][1] || chart.nulls[j][0]}: ${number(v)}`));
      svg.append(mark);
    });
    if (needed !== null) svg.append(s("path", { class: "needed", d: `M${x.at(needed)} ${y - Math.min(7, high / 2)}v${Math.min(14, high)}` }, s("title", {}, `${keys[i]} must exceed ${exact(needed)}`)));
    if (value !== null) svg.append(s("circle", { class: `dot ${colour(group)}${group.decided ? "" : " open"}`, cx: x.at(value), cy: y, r: named ? 4.5 : 3 }, s("title", {}, `${keys[i]}, ${chart.title}: ${exact(value)}`)));
  });
  const largest = chart.nulls.length > 1 ? "the largest of these" : "it";
  return {
    above: "",
    shown: svg,
    key: [h("li", {}, h("i", { class: "dotkey" }), chart.title), ...chart.nulls.map(([name, title], j) => entry(keyGlyph(j, "null"), title || name)),
      entry(h("i", { class: "neededkey" }), chart.margin ? `${largest} + ${number(chart.margin)}` : largest)],
  };
};

// The matrices of the first groups that have any.
const matricesOf = (chart, drawn, cell) => {
  if (!drawn.groups.length) return null;
  const most = 6;
  const blocks = drawn.groups.slice(0, most).map(([group, named], i) => h("details", i === 0 ? { open: "" } : {}, h("summary", {}, crop(text(cell.groups[group].key), 60)),
    h("div", { class: "matrices" }, ...named.map((m) => h("figure", {}, h("figcaption", {}, crop(text(m.name), 60)), matrix(m, chart))))));
  const of = [chart.rows && `rows: ${chart.rows}`, chart.columns && `columns: ${chart.columns}`].filter(Boolean).join("; ");
  return {
    above: [chart.label, of].filter(Boolean).join(" · "),
    shown: h("div", {}, ...blocks, drawn.groups.length > most ? h("p", { class: "where" }, `and ${drawn.groups.length - most} more groups in the measurement`) : null),
    key: [],
  };
};

// A small labelled matrix, dark at the high end of the colours.
const matrix = (m, chart) => {
  const share = (v) => Math.max(0, Math.min(1, (v - chart.low) / (chart.high - chart.low)));
  const size = Math.max(22, Math.min(44, 260 / (m.columns.length || 1)));
  const left = 8 + Math.max(0, ...m.rows.map((r) => Math.min(14, text(r).length))) * 6.2;
  const height = m.rows.length * size;
  const svg = s("svg", { viewBox: `0 0 ${left + m.columns.length * size + 4} ${height + 70}`, width: left + m.columns.length * size + 4, height: height + 70, role: "img", "aria-label": `${chart.label}, ${text(m.name)}` });
  m.values.forEach((row, i) => {
    svg.append(label(left - 6, i * size + size / 2 + 4, crop(text(m.rows[i]), 14), "end"));
    row.forEach((v, j) => {
      const box = s("rect", { x: left + j * size, y: i * size, width: size - 1, height: size - 1, fill: "#0072b2", "fill-opacity": v === null ? 0 : Math.max(0.04, share(v)) });
      box.append(s("title", {}, `${text(m.rows[i])}, ${text(m.columns[j])}: ${number(v)}`));
      svg.append(box);
      if (size >= 30 && v !== null) {
        const kind = share(v) > 0.55 ? "onfill" : "strong";
        svg.append(label(left + j * size + size / 2 - 0.5, i * size + size / 2 + 4, v.toFixed(2).replace("-", "−"), "middle", kind));
      }
    });
  });
  m.columns.forEach((c, j) => {
    const [cx, cy] = [left + j * size + size / 2, height + 12];
    const name = label(cx, cy, crop(text(c), 14), "end");
    name.setAttribute("transform", `rotate(-40 ${cx} ${cy})`);
    svg.append(name);
  });
  return svg;
};

const CHARTS = { lines: ["Trajectories", linesOf], curves: ["What was measured", pointsOf], dots: ["Predicted and measured", pointsOf], bars: ["Histogram", pointsOf], levels: ["Against what it must exceed", levelsOf], matrices: ["Matrices", matricesOf] };
const chartsOf = (cell, colour, few, width) => cell.charts.flatMap(([index, drawn]) => {
  const chart = data("cell-data").charts[index];
  const [title, drawing] = CHARTS[chart.kind];
  const found = drawing(chart, drawn, cell, colour, few, width);
  if (!found) return chart.kind === "lines" ? [h("h3", {}, title), h("p", {}, "No trajectory of this cell is stored with these results, only what was measured on it.")] : [];
  return [h("h3", {}, title), found.above ? h("p", { class: "where" }, crop(found.above, 200)) : null, found.shown,
    found.key.some(Boolean) ? h("ul", { class: "key" }, ...found.key) : null];
});
