// A scale maps values to pixels and knows its ticks.
const scale = (from, to, start, end, log) => {
  const f = log ? Math.log10 : (x) => x;
  const [a, b] = [f(from), f(to)];
  const at = (x) => start + ((f(x) - a) / (b - a || 1)) * (end - start);
  return { at, ticks: log ? decades(from, to) : steps(from, to), log };
};
const steps = (from, to) => {
  const raw = (to - from) / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const size = [1, 2, 2.5, 5, 10].find((m) => m * power >= raw) * power;
  const ticks = [];
  for (let i = Math.ceil(from / size - 1e-9); i * size <= to + size * 1e-9 && ticks.length < 20; i++) ticks.push(Number((i * size).toPrecision(6)));
  return ticks;
};
const decades = (from, to) => {
  const [a, b] = [Math.ceil(Math.log10(from) - 1e-9), Math.floor(Math.log10(to) + 1e-9)];
  if (b - a < 1) {
    const multiples = (of) => [a - 1, a, a + 1].flatMap((e) => of.map((m) => Number(`${m}e${e}`))).filter((x) => x >= from && x <= to);
    return [multiples([1, 2, 5]), multiples([1, 1.5, 2, 3, 4, 5, 6, 8])].find((found) => found.length > 2) ?? steps(from, to).filter((x) => x > 0);
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

// Axes with ticks, and a group inside them that cuts what lies beyond.
const frame = (x, y, width, height, xlabel, about) => {
  const [left, right, top] = [52, 20, 10];
  const bottom = top + height;
  const svg = s("svg", { viewBox: `0 0 ${width} ${bottom + 40}`, width, height: bottom + 40, role: "img", "aria-label": about });
  const id = `inside-${(frame.count = (frame.count ?? 0) + 1)}`;
  svg.append(s("clipPath", { id }, s("rect", { x: left, y: top, width: width - left - right, height })));
  const [across, up] = [x(left, width - right), y(bottom, top)];
  for (const t of up.ticks) svg.append(s("path", { class: "axis", d: `M${left - 4} ${up.at(t)}H${left}` }), label(left - 8, up.at(t) + 4, number(t), "end"));
  for (const t of across.ticks) svg.append(s("path", { class: "axis", d: `M${across.at(t)} ${bottom}v4` }), label(across.at(t), bottom + 17, number(t)));
  svg.append(s("path", { class: "axis", d: `M${left} ${top}V${bottom}H${width - right}` }));
  svg.append(label((left + width - right) / 2, bottom + 34, crop(xlabel, 80)));
  const inside = s("g", { "clip-path": `url(#${id})` });
  svg.append(inside);
  return { svg, inside, x: across, y: up, left, right: width - right, top, bottom };
};
const pathOf = (points) => {
  let [path, pen] = ["", "M"];
  for (const point of points) {
    if (point === null) pen = "M";
    else {
      path += `${pen}${point[0].toFixed(1)} ${point[1].toFixed(1)}`;
      pen = "L";
    }
  }
  return path;
};
