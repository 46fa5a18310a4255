// How numbers and times are written. NaN is unknown and is written as a dash.

export const dash = "–";

export function count(x) {
  if (!Number.isFinite(x)) return dash;
  if (x >= 9.95 || Number.isInteger(x)) return Math.round(x).toLocaleString("en");
  return x.toFixed(1);
}

// milliseconds writes a time of so many milliseconds with its unit.
export function milliseconds(x) {
  if (!Number.isFinite(x)) return dash;
  if (x === 0) return "0 ms";
  if (x < 0.0995) return `${Math.round(x * 1000)} µs`;
  if (x < 9.95) return `${x.toFixed(x < 0.995 ? 2 : 1)} ms`;
  if (x < 999.5) return `${Math.round(x)} ms`;
  return `${(x / 1000).toFixed(x < 9950 ? 2 : 1)} s`;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minutes = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

export const time = (at) => clock.format(at);
export const shortTime = (at, step) => (step < 60_000 ? clock : minutes).format(at);

// ticks are round numbers from 0 to at least most, about as many as wanted.
export function ticks(most, wanted) {
  if (!(most > 0)) return [0, 1];
  const raw = most / wanted;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((f) => f * unit).find((s) => s >= raw * 0.999);
  const out = [];
  for (let i = 0; i === 0 || out[i - 1] < most * 0.999; i++) out.push(+(i * step).toPrecision(6));
  return out;
}

const steps = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800].map((s) => s * 1000);

// timeStep is the round time between two labels that leaves them room.
export const timeStep = (span, most) => steps.find((s) => span / s <= most) ?? 3_600_000;

export function element(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

export function svg(name, attributes = {}, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

// facts fills a list with names and values.
export function facts(list, rows, wrap = false) {
  const pairs = rows.map(({ name, value }) => [element("dt", {}, name), element("dd", {}, value)]);
  list.replaceChildren(...pairs.flatMap((p) => (wrap ? [element("div", {}, ...p)] : p)));
}
