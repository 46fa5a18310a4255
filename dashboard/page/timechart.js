// A plot over time: lines of one unit, above one another on an axis that all
// plots of the page share.

import { element, shortTime, svg, ticks, timeStep } from "./format.js";

export const left = 52, right = 10;
const top = 6, bottom = 6, labels = 20;
const gap = 3500; // milliseconds without a point that break a line

export class TimeChart {
  // series: {column, name, style, step, area}; write: how a value is written.
  constructor({ title, unit, series, height, write, axis, last, marks }) {
    Object.assign(this, { series, write, axis: axis ?? write, last, marks });
    this.height = height + (last ? labels : 0);
    this.plotBottom = height - bottom;
    this.svg = svg("svg", { "aria-hidden": "true", height: this.height, width: "100%" });
    this.grid = svg("g");
    this.lines = svg("g");
    this.hover = svg("g");
    this.svg.append(this.grid, this.lines, this.hover);
    this.keys = series.map((s) => element("b"));
    const caption = element("figcaption", {}, element("h3", {}, title, " ", element("small", {}, unit)));
    series.forEach((s, i) => caption.append(element("span", { class: "key" }, swatch(s), s.name, this.keys[i])));
    this.figure = element("figure", {}, caption, this.svg);
  }

  // draw draws the points from one time to another at a width in pixels.
  draw(history, t0, t1, width, changes) {
    if (!(width > left + right + 20)) return;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${this.height}`);
    const first = Math.max(0, history.from(t0) - 1), end = history.length;
    let most = 0;
    for (const s of this.series) {
      const v = history.values[s.column] ?? [];
      for (let i = first; i < end; i++) if (v[i] > most) most = v[i];
    }
    const marks = ticks(most, 3);
    const highest = marks[marks.length - 1];
    this.x = (t) => left + ((t - t0) / (t1 - t0)) * (width - left - right);
    this.y = (v) => this.plotBottom - (v / highest) * (this.plotBottom - top);

    const grid = [];
    for (const v of marks) {
      const y = Math.round(this.y(v)) + 0.5;
      grid.push(svg("line", { class: v === 0 ? "axis" : "gridline", x1: left, x2: width - right, y1: y, y2: y }));
      grid.push(svg("text", { x: left - 8, y: y + 3.5, "text-anchor": "end" }, this.axis(v)));
    }
    const step = timeStep(t1 - t0, (width - left - right) / 80);
    const offset = new Date(t1).getTimezoneOffset() * 60_000; // so that labels fall on full local hours
    for (let t = Math.ceil((t0 - offset) / step) * step + offset; t <= t1; t += step) {
      const x = Math.round(this.x(t)) + 0.5;
      grid.push(svg("line", { class: "gridline", x1: x, x2: x, y1: top, y2: this.plotBottom }));
      if (this.last && x > left + 12 && x < width - right - 12) {
        grid.push(svg("text", { x, y: this.plotBottom + 16, "text-anchor": "middle" }, shortTime(t, step)));
      }
    }
    this.grid.replaceChildren(...grid);

    const clip = this.x(t0);
    const drawn = [];
    for (const s of this.series) {
      const d = this.path(history, s, first, end, clip);
      if (s.area && d.area) drawn.push(svg("path", { class: "area", d: d.area }));
      drawn.push(svg("path", { class: `trace ${s.style}`, d: d.line }));
    }
    if (this.marks) {
      for (const c of changes) {
        if (c.at < t0 || c.at > t1 || (c.action !== "grow" && c.action !== "shrink")) continue;
        const x = this.x(c.at), y = this.plotBottom, up = c.action === "grow";
        drawn.push(svg("path", { class: "change", d: up ? `M${x - 3} ${y + 6}h6l-3 -5z` : `M${x - 3} ${y + 1}h6l-3 5z` }));
      }
    }
    this.lines.replaceChildren(...drawn);
  }

  // path is a line and the area below it. Where there are more points than
  // pixels, each pixel's least and most are drawn, so that no peak is lost.
  path(history, s, first, end, clip) {
    const values = history.values[s.column] ?? [];
    let line = "", area = "", run = [], before = -Infinity;
    const finish = () => {
      if (run.length === 0) return;
      const points = run.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`);
      line += run.length === 1 ? `M${points[0]}h.01` : `M${points.join("L")}`;
      area += `M${run[0][0].toFixed(1)} ${this.plotBottom}L${points.join("L")}V${this.plotBottom}Z`;
      run = [];
    };
    let column = null, low = 0, high = 0, sum = [];
    const flush = () => {
      if (column === null) return;
      const x = column;
      if (low === high) run.push([x, low]);
      else sum[0] < sum[1] ? run.push([x, low], [x, high]) : run.push([x, high], [x, low]);
      column = null;
    };
    let lastY = NaN;
    for (let i = first; i < end; i++) {
      const v = values[i], t = history.at[i];
      if (!Number.isFinite(v) || t - before > gap) {
        flush();
        finish();
        lastY = NaN;
        if (!Number.isFinite(v)) continue;
      }
      before = t;
      const x = Math.max(clip, Math.round(this.x(t) * 2) / 2), y = this.y(v);
      if (column !== null && x !== column) flush();
      if (s.step && Number.isFinite(lastY) && lastY !== y && column === null) run.push([x, lastY]);
      if (column === null) [column, low, high, sum] = [x, y, y, [y, y]];
      else [low, high, sum] = [Math.min(low, y), Math.max(high, y), [sum[0], y]];
      lastY = y;
    }
    flush();
    finish();
    return { line, area };
  }

  // read shows the values at a point, with a hair line there unless it is now.
  read(history, i, hair) {
    this.series.forEach((s, k) => { this.keys[k].textContent = this.write(history.value(s.column, i)); });
    if (!hair || !this.x || i < 0) return this.hover.replaceChildren();
    const x = Math.round(this.x(history.at[i])) + 0.5;
    const dots = this.series.filter((s) => Number.isFinite(history.value(s.column, i)))
      .map((s) => svg("circle", { class: `dot ${s.style.split(" ")[0]}`, cx: x, cy: this.y(history.value(s.column, i)), r: 3.5 }));
    this.hover.replaceChildren(svg("line", { class: "hair", x1: x, x2: x, y1: top, y2: this.plotBottom }), ...dots);
  }
}

function swatch(s) {
  const picture = svg("svg", { "aria-hidden": "true", viewBox: "0 0 22 10" });
  if (s.area) picture.append(svg("rect", { class: "area", x: 0, y: 4, width: 22, height: 6 }));
  picture.append(svg("line", { class: `trace ${s.style}`, x1: 0, x2: 22, y1: s.area ? 4 : 5, y2: s.area ? 4 : 5 }));
  return picture;
}
