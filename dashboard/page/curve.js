// The capacity curve: what throughput each limit gave that was tried, where the
// knee is, and where the pool is now.

import { count, element, facts, svg, ticks } from "./format.js";

const height = 210, left = 48, right = 14, top = 18, bottom = 34;

export class Curve {
  constructor(box, readout, knee, belief, table) {
    Object.assign(this, { box, readout, knee, belief, table, at: -1, points: [] });
    this.svg = svg("svg", { "aria-hidden": "true", width: "100%", height });
    box.append(this.svg);
    box.addEventListener("pointermove", (e) => this.point(e.clientX));
    box.addEventListener("pointerdown", (e) => this.point(e.clientX));
    box.addEventListener("pointerleave", () => this.select(-1));
    box.addEventListener("blur", () => this.select(-1));
    box.addEventListener("keydown", (e) => this.key(e));
  }

  show(state) {
    this.state = state;
    this.points = state.curve ?? [];
    this.at = Math.min(this.at, this.points.length - 1);
    this.knee.textContent = `Knee: ${state.knee.text}`;
    facts(this.belief, state.belief);
    this.table.replaceChildren(...this.points.map((p) => element("tr", {},
      element("th", { scope: "row" }, String(p.limit)), element("td", {}, `${count(p.throughput)}/s`),
      element("td", {}, `± ${(100 * p.error).toFixed(1)} %`), element("td", {}, `${p.seconds.toFixed(1)} s`))));
    this.draw();
  }

  draw() {
    const width = this.box.clientWidth;
    if (!this.state || !(width > left + right + 20)) return;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const { knee, limit } = this.state, points = this.points, floor = height - bottom;
    const widest = Math.max(limit, knee.identified ? knee.upper : 1, ...points.map((p) => p.limit), 4);
    const doublings = Math.ceil(Math.log2(widest) - 1e-9);
    const marks = ticks(Math.max(1, ...points.map((p) => p.throughput * (1 + 2 * p.error))), 4);
    // A doubling of connections is one step to the right: that is how limits are tried.
    this.x = (n) => left + (Math.log2(Math.max(1, n)) / doublings) * (width - left - right);
    const y = (v) => floor - (v / marks[marks.length - 1]) * (floor - top);

    const drawn = [];
    if (knee.identified) {
      const x0 = this.x(knee.lower), x1 = this.x(knee.upper);
      drawn.push(svg("rect", { class: "band", x: x0 - 3, width: x1 - x0 + 6, y: top, height: floor - top }));
    }
    if (points.length > 0) {
      for (const v of marks) {
        drawn.push(svg("line", { class: v === 0 ? "axis" : "gridline", x1: left, x2: width - right, y1: y(v), y2: y(v) }));
        drawn.push(svg("text", { x: left - 8, y: y(v) + 3.5, "text-anchor": "end" }, count(v)));
      }
      drawn.push(svg("text", { x: 0, y: 9 }, "throughput, per second"));
    } else {
      drawn.push(svg("line", { class: "axis", x1: left, x2: width - right, y1: floor, y2: floor }));
      drawn.push(svg("text", { x: (left + width - right) / 2, y: (top + floor) / 2, "text-anchor": "middle" }, "no limit was tried yet"));
    }
    for (let i = 0; i <= doublings; i++) {
      const x = this.x(2 ** i);
      if (points.length > 0) drawn.push(svg("line", { class: "gridline", x1: x, x2: x, y1: top, y2: floor }));
      drawn.push(svg("text", { x, y: floor + 15, "text-anchor": "middle" }, String(2 ** i)));
    }
    drawn.push(svg("text", { x: width - right, y: floor + 30, "text-anchor": "end" }, "limit, connections in use"));
    if (knee.identified) {
      const x = this.x(knee.n);
      drawn.push(svg("line", { class: "knee", x1: x, x2: x, y1: top, y2: floor }));
      drawn.push(svg("text", { class: "kneetext", x: Math.min(x + 5, width - right - 44), y: floor - 8 }, `knee ${knee.n}`));
    }
    if (points.length > 1) {
      drawn.push(svg("path", { class: "trace first", d: "M" + points.map((p) => `${this.x(p.limit).toFixed(1)} ${y(p.throughput).toFixed(1)}`).join("L") }));
    }
    for (const p of points) {
      const x = this.x(p.limit), e = 2 * p.error * p.throughput; // two standard errors
      drawn.push(svg("line", { class: "error", x1: x, x2: x, y1: y(p.throughput + e), y2: y(Math.max(0, p.throughput - e)) }));
    }
    points.forEach((p, i) => {
      drawn.push(svg("circle", { class: "pt", cx: this.x(p.limit), cy: y(p.throughput), r: i === this.at ? 6 : 4 }));
      if (p.limit === limit) drawn.push(svg("circle", { class: "here", cx: this.x(p.limit), cy: y(p.throughput), r: 8 }));
    });
    const x = this.x(limit);
    drawn.push(svg("path", { class: "change", d: `M${x - 5} ${floor + 7}h10l-5 -6z` }));
    this.svg.replaceChildren(...drawn);
    this.read();
  }

  read() {
    const p = this.points[this.at];
    const text = p ? `Limit ${p.limit}: ${count(p.throughput)}/s ± ${(200 * p.error).toFixed(1)} %, measured for ${p.seconds.toFixed(1)} s`
      : this.points.length ? `Limit now: ${this.state.limit} (▲). Bars are two standard errors; the shaded limits cannot be told apart from the knee.` : "";
    this.readout.textContent = text;
    this.box.setAttribute("aria-valuemax", Math.max(0, this.points.length - 1));
    this.box.setAttribute("aria-valuenow", Math.max(0, this.at));
    this.box.setAttribute("aria-valuetext", p ? text : this.points.length ? `${this.points.length} limits tried` : "nothing tried yet");
  }

  select(i) {
    if (i === this.at) return;
    this.at = i;
    this.draw();
  }

  point(clientX) {
    if (!this.points.length || !this.x) return;
    const x = clientX - this.box.getBoundingClientRect().left;
    const far = this.points.map((p) => Math.abs(this.x(p.limit) - x));
    this.select(far.indexOf(Math.min(...far)));
  }

  key(e) {
    const last = this.points.length - 1;
    const to = { ArrowLeft: this.at < 0 ? last : Math.max(0, this.at - 1), ArrowRight: Math.min(last, this.at + 1), Home: 0, End: last, Escape: -1 }[e.key];
    if (to === undefined) return;
    e.preventDefault();
    this.select(to);
  }
}
