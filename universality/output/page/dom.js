// Elements are made here and nowhere else. Text is only ever a text node.
const make = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null).map((c) => (c instanceof Node ? c : String(c))));
  return element;
};
const h = (tag, attributes = {}, ...children) => make(document.createElement(tag), attributes, children);
const s = (tag, attributes = {}, ...children) =>
  make(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Data is gzip in base64. It is parsed when the first cell is opened, so that the page is ready before.
const unpacked = async (id) => {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
};
const texts = { "cell-data": await unpacked("cell-data"), "run-data": await unpacked("run-data") };
const parsed = {};
const data = (id) => (parsed[id] ??= JSON.parse(texts[id]));
const text = (index) => data("cell-data").texts[index];

const typeset = (x, plain, small) => {
  if (x === null || x === undefined) return "–";
  const a = Math.abs(x);
  return (a === 0 || (a >= 1e-3 && a < 1e5) ? plain() : small()).replace("e+", "e").replaceAll("-", "−");
};
const number = (x) => typeset(x, () => String(Number(x.toPrecision(4))), () => x.toExponential(2));
// With every digit that was embedded: beside a bound these tell its side.
const exact = (x) => typeset(x, () => String(x), () => x.toExponential());
const crop = (t, most) => (t.length <= most ? t : `${t.slice(0, most / 2)}…${t.slice(-most / 2)}`);
const ending = (t, most) => (t.length <= most ? t : `…${t.slice(1 - most)}`);
