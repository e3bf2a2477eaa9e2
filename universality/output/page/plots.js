// A scale maps values to pixels and knows its ticks.
const scale = (from, to, start, end, log) => {
  const f = log ? Math.log10 : (x) => x;
  const [a, b] = [f(from), f(to)];
  const at = (x) => start + ((f(x) - a) / (b - a || 1)) * (end - start);
  return { at, ticks: log ? decades(from, to) : steps(from, to), log };
};
const steps = (from, to) => {
  const raw = (to - from) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const size = [1, 2, 2.5, 5, 10].find((m) => m * power >= raw) * power;
  const ticks = [];
  for (let i = Math.ceil(from / size - 1e-9); i * size <= to + size * 1e-9; i++) ticks.push(Number((i * size).toPrecision(6)));
  return ticks;
};
const decades = (from, to) => {
  const [a, b] = [Math.ceil(Math.log10(from) - 1e-9), Math.floor(Math.log10(to) + 1e-9)];
  if (b - a < 1) {
    const between = [a - 1, a, a + 1].flatMap((e) => [1, 2, 5].map((m) => m * 10 ** e)).filter((x) => x >= from && x <= to);
    return between.length > 1 ? between : steps(from, to).filter((x) => x > 0);
  }
  const every = Math.ceil((b - a) / 5);
  return Array.from({ length: b - a + 1 }, (_, i) => a + i).filter((e) => (e - a) % every === 0).map((e) => 10 ** e);
};
const padded = (values, log, part = 0.06) => {
  const known = values.filter((x) => x !== null && (!log || x > 0));
  if (!known.length) return log ? [0.1, 10] : [0, 1];
  let [a, b] = known.reduce(([low, high], x) => [Math.min(low, x), Math.max(high, x)], [Infinity, -Infinity]);
  if (log) {
    const grow = Math.max((b / a) ** part, 1.15);
    return [a / grow, b * grow];
  }
  const grow = (b - a) * part || Math.abs(a) * 0.1 || 0.1;
  return [a - grow, b + grow];
};
const label = (x, y, t, anchor = "middle", kind = "") => s("text", { x, y, "text-anchor": anchor, class: kind }, t);

// Effects of groups as dots in rows of their own, the interval below, the claim as a band.
const effects = (cell, colour, width) => {
  const groups = cell.groups;
  const log = cell.scale === "log";
  const named = groups.length <= 16;
  const longest = Math.max(...groups.map((g) => Math.min(text(g.key).length, 16)), 6);
  const left = named ? 14 + longest * 6.6 : 14;
  const row = named ? 19 : Math.max(4, Math.min(9, 260 / groups.length));
  const bottom = 12 + groups.length * row + 26;
  const shown = [...groups.map((g) => g.effect ?? null), ...cell.estimate, ...cell.band];
  const x = scale(...padded(shown, log), left, width - 14, log);
  const inside = (v) => v !== null && (!log || v > 0);
  const clamp = (v) => Math.max(left, Math.min(width - 14, x.at(v)));
  const svg = s("svg", { viewBox: `0 0 ${width} ${bottom + 34}`, width, height: bottom + 34, role: "img", "aria-label": "Effect of every group of runs against the bounds of the claim" });
  const [low, high] = cell.band;
  const [bl, bh] = [inside(low) ? clamp(low) : left, inside(high) ? clamp(high) : width - 14];
  svg.append(s("rect", { class: "bandfill", x: bl, y: 4, width: Math.max(0, bh - bl), height: bottom - 4 }));
  for (const edge of [low, high]) if (inside(edge)) svg.append(s("path", { class: "bandedge", d: `M${x.at(edge)} 4V${bottom}` }));
  svg.append(s("path", { class: "axis", d: `M${left} ${bottom}H${width - 14}` }));
  for (const t of x.ticks) svg.append(s("path", { class: "axis", d: `M${x.at(t)} ${bottom}v4` }), label(x.at(t), bottom + 16, number(t)));
  svg.append(label((left + width - 14) / 2, bottom + 31, crop(text(cell.unit) || "effect", 80)));
  groups.forEach((g, i) => {
    const y = 14 + i * row;
    if (named) svg.append(label(left - 8, y + 4, ending(text(g.key), 16), "end"));
    const title = s("title", {}, `${text(g.key)}: ${g.effect === undefined ? g.state : number(g.effect)}${g.censored ? " or more (censored)" : ""}${g.decided ? "" : ", not decided"}`);
    if (inside(g.effect ?? null)) {
      const kind = `dot ${colour(g)}${g.decided ? "" : " open"}`;
      const [px, r] = [x.at(g.effect), named ? 4.5 : 3];
      svg.append(g.censored
        ? s("path", { class: kind, d: `M${px - r} ${y - r}L${px + r + 1} ${y}L${px - r} ${y + r}Z` }, title)
        : s("circle", { class: kind, cx: px, cy: y, r }, title));
    } else if (named) svg.append(label(left + 4, y + 4, g.state === "done" ? "no effect: a gate was not met" : g.state, "start"));
  });
  const [middle, a, b] = cell.estimate;
  const y = bottom - 12;
  if (a !== null || b !== null) svg.append(s("path", { class: "interval", d: `M${inside(a) ? clamp(a) : left} ${y}H${inside(b) ? clamp(b) : width - 14}` }));
  if (inside(middle)) svg.append(s("path", { class: "middle", d: `M${x.at(middle)} ${y - 6}l5 6l-5 6l-5 -6z` }));
  if (named && cell.estimate.some((v) => v !== null)) svg.append(label(left - 8, y + 4, cell.middle, "end", "strong"));
  return svg;
};

// Trajectories of the runs behind a cell. Spikes beyond the bulk are cut, and the caption says so.
const trajectories = (cell, runs, colour, width) => {
  const chart = chartOf(cell);
  const metrics = Object.keys(chart.metrics);
  const lines = [];
  const seen = new Set();
  for (const group of cell.groups) for (const [role, index] of group.runs) {
    const id = text(index);
    const run = seen.has(id) ? undefined : runs[id];
    seen.add(id);
    if (run) for (const [metric, [gaps, values]] of Object.entries(run.series)) {
      if (!metrics.includes(metric) && metric !== "train_loss") continue;
      let step = 0;
      lines.push({ metric, id, run, role: text(role), group, values, at: gaps.map((gap) => (step += gap)) });
    }
  }
  if (!lines.length) return null;
  const loss = !lines.some((l) => metrics.includes(l.metric));
  const log = chart.log_values && !loss;
  const band = chart.banded && !loss ? cell.band : [null, null];
  const usable = (v) => v !== null && (!log || v > 0);
  const pool = lines.flatMap((l) => l.values).filter(usable).sort((a, b) => a - b);
  if (!pool.length) return null;
  const largest = pool[pool.length - 1];
  const bulk = pool[Math.floor((pool.length - 1) * 0.98)];
  const edge = Math.max(bulk, band[1] ?? bulk) * 1.25;
  const cut = !log && pool[0] >= 0 && largest > 1.6 * edge;
  const [left, right, top, height] = [52, 20, 10, 240];
  const first = chart.log_steps ? 1 : 0;
  const last = Math.max(1, ...lines.map((l) => l.at[l.at.length - 1]));
  const x = scale(first, last, left, width - right, chart.log_steps);
  const ends = padded([...(cut ? [pool[0], edge] : [pool[0], largest]), ...band], log);
  if (!log && pool[0] >= 0) ends[0] = 0;
  if (!log && pool[0] >= 0 && largest <= 1 && chart.label === "accuracy") ends[1] = 1.03;
  const y = scale(...ends, top + height, top, log);
  const svg = s("svg", { viewBox: `0 0 ${width} ${top + height + 40}`, width, height: top + height + 40, role: "img", "aria-label": `${loss ? "Training loss" : chart.label} over steps, one line per run` });
  svg.append(s("clipPath", { id: "inside" }, s("rect", { x: left, y: top, width: width - left - right, height })));
  if (band[0] !== null || band[1] !== null) {
    const [upper, lower] = [band[1] === null ? top : y.at(band[1]), band[0] === null ? top + height : y.at(band[0])];
    svg.append(s("rect", { class: "bandfill", x: left, y: upper, width: width - left - right, height: Math.max(0, lower - upper) }));
    for (const v of band) if (v !== null) svg.append(s("path", { class: "bandedge", d: `M${left} ${y.at(v)}H${width - right}` }));
  }
  for (const t of y.ticks) svg.append(s("path", { class: "axis", d: `M${left - 4} ${y.at(t)}H${left}` }), label(left - 8, y.at(t) + 4, number(t), "end"));
  for (const t of x.ticks) svg.append(s("path", { class: "axis", d: `M${x.at(t)} ${top + height}v4` }), label(x.at(t), top + height + 17, number(t)));
  svg.append(s("path", { class: "axis", d: `M${left} ${top}V${top + height}H${width - right}` }));
  svg.append(label((left + width - right) / 2, top + height + 34, chart.log_steps ? "step (logarithmic)" : "step"));
  const drawing = s("g", { "clip-path": "url(#inside)" });
  for (const l of lines) {
    let path = "";
    let pen = "M";
    l.values.forEach((v, i) => {
      if (!usable(v) || l.at[i] < first) return void (usable(v) || (pen = "M"));
      path += `${pen}${x.at(l.at[i]).toFixed(1)} ${y.at(v).toFixed(1)}`;
      pen = "L";
    });
    const kind = `line ${colour(l.group)}${metrics.indexOf(l.metric) === 0 && metrics.length > 1 ? " second" : ""}`;
    drawing.append(s("path", { class: kind, d: path }, s("title", {}, `${crop(l.role, 30)}, seed ${l.run.seed}, ${l.run.state}: ${crop(l.id, 80)}`)));
  }
  svg.append(drawing);
  return { svg, loss, cut: cut ? largest : null, runs: new Set(lines.map((l) => l.id)).size };
};

// A small labelled matrix, dark where similar.
const matrix = (m) => {
  const size = Math.max(22, Math.min(44, 260 / m.columns.length));
  const left = 8 + Math.max(...m.rows.map((r) => Math.min(14, text(r).length))) * 6.2;
  const height = m.rows.length * size;
  const svg = s("svg", { viewBox: `0 0 ${left + m.columns.length * size + 4} ${height + 70}`, width: left + m.columns.length * size + 4, height: height + 70, role: "img", "aria-label": `Similarity between layers, ${text(m.name)}` });
  m.values.forEach((row, i) => {
    svg.append(label(left - 6, i * size + size / 2 + 4, crop(text(m.rows[i]), 14), "end"));
    row.forEach((v, j) => {
      const box = s("rect", { x: left + j * size, y: i * size, width: size - 1, height: size - 1, fill: "#0072b2", "fill-opacity": v === null ? 0 : Math.max(0.04, Math.min(1, v)) });
      box.append(s("title", {}, `${text(m.rows[i])}, ${text(m.columns[j])}: ${number(v)}`));
      svg.append(box);
      if (size >= 30 && v !== null) {
        const kind = v > 0.55 ? "onfill" : "strong";
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
