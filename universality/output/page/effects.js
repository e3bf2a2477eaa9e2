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
    const title = s("title", {}, `${text(g.key)}: ${g.effect === undefined ? g.state : exact(g.effect)}${g.censored ? " or more (censored)" : ""}${g.decided ? "" : ", not decided"}`);
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
