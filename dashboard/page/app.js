// The page: what comes from the stream goes into history, decisions and state,
// and is drawn once for each second.

import { Curve } from "./curve.js";
import { Decisions } from "./decisions.js";
import { count, element, facts, milliseconds, time } from "./format.js";
import { History } from "./history.js";
import { Stream } from "./stream.js";
import { TimeChart, left, right } from "./timechart.js";

const $ = (id) => document.getElementById(id);
const history = new History();
const decisions = new Decisions($("decisions"), $("decisions-count"));
const curve = new Curve($("curve"), $("curve-read"), $("knee"), $("belief"), $("curve-table").tBodies[0]);
const connections = (x) => count(x);
const axisTime = (x) => (x === 0 ? "0" : x >= 1000 ? `${+(x / 1000).toPrecision(3)} s` : x >= 1 ? `${+x.toPrecision(3)} ms` : `${+(x * 1000).toPrecision(3)} µs`);

const charts = [
  new TimeChart({ title: "Rates", unit: "per second", height: 120, write: count, series: [
    { column: "arrivals", name: "arrival rate", style: "first" },
    { column: "throughput", name: "throughput", style: "second dashed" } ] }),
  new TimeChart({ title: "Connections", unit: "and queued callers", height: 160, write: connections, marks: true, series: [
    { column: "inUse", name: "in use", style: "first", area: true },
    { column: "queued", name: "queued", style: "second dashed" },
    { column: "limit", name: "limit", style: "strong", step: true },
    { column: "max", name: "max", style: "faint dotted", step: true } ] }),
  new TimeChart({ title: "Wait time", unit: "asking to getting", height: 110, write: milliseconds, axis: axisTime, series: [
    { column: "waitP50", name: "p50", style: "first thin" },
    { column: "waitP99", name: "p99", style: "second dashed" } ] }),
  new TimeChart({ title: "Response time", unit: "wait and service", height: 110, write: milliseconds, axis: axisTime, last: true, series: [
    { column: "responseP50", name: "p50", style: "first thin" },
    { column: "responseP99", name: "p99", style: "second dashed" } ] }),
];
$("charts").append(...charts.map((c) => c.figure));

const figures = [
  ["arrivals", "arrival rate, per second", count], ["throughput", "throughput, per second", count],
  ["canceled", "canceled, per second", count], ["failed", "failed, per second", count],
  ["inUse", "in use", count], ["queued", "queued", count], ["limit", "limit", count], ["max", "max", count], ["open", "server connections open", count],
  ["waitP50", "wait p50", milliseconds], ["waitP99", "wait p99", milliseconds],
  ["responseP50", "response p50", milliseconds], ["responseP99", "response p99", milliseconds],
];
const tiles = [
  ["arrival rate", (v) => [count(v("arrivals")), "/s"]], ["throughput", (v) => [count(v("throughput")), "/s"]],
  ["in use of limit", (v) => [count(v("inUse")), `of ${count(v("limit"))}`]], ["queued", (v) => [count(v("queued")), "callers"]],
  ["max", (v) => [count(v("max")), "connections"]], ["open", (v) => [count(v("open")), "connections"]], ["wait p99", (v) => split(milliseconds(v("waitP99")))],
  ["response p99", (v) => split(milliseconds(v("responseP99")))],
];
const split = (text) => { const [value, unit = ""] = text.split(" "); return [value, unit]; };

const shortest = 30_000; // milliseconds on the axis, so that the first seconds are not stretched

// begin is where the axis begins: so long ago as was asked for, or with the
// first point there is.
function begin(end) {
  const all = end - span * 1000;
  return history.length ? Math.max(all, Math.min(history.at[0], end - shortest)) : all;
}

let span = 300, chosen = -1; // milliseconds of the time read at; -1: now
let state = null, verdict = "";

// render draws everything, at most once a frame.
const spanNames = { 60: "minute", 300: "5 minutes", 900: "15 minutes", 3600: "hour" };
let waiting = false;
function render() {
  if (waiting || document.hidden) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
  });
}

function draw() {
  const width = $("charts").clientWidth;
  const end = history.length ? history.at[history.length - 1] : Date.now();
  const t0 = begin(end), seconds = Math.round((end - t0) / 1000);
  const name = seconds >= span - 1 ? spanNames[span] : seconds < 120 ? `${seconds} seconds` : `${Math.floor(seconds / 60)} minutes`;
  if ($("span-name").textContent !== name) $("span-name").textContent = name;
  if (chosen >= 0 && chosen < t0) choose(-1);
  for (const c of charts) c.draw(history, t0, end, width, decisions.all);
  read();
  const now = history.length - 1;
  const v = (column) => history.value(column, now);
  $("tiles").replaceChildren(...tiles.map(([name, value]) => {
    const [number, unit] = value(v);
    return element("div", {}, element("dt", {}, name), element("dd", {}, number, element("small", {}, unit)));
  }));
  if ($("figures").open) table(t0);
}

// table is the curves as numbers.
function table(t0) {
  const first = history.from(t0);
  $("table").tBodies[0].replaceChildren(...figures.map(([column, name, write]) => {
    const known = (history.values[column] ?? []).slice(first).filter(Number.isFinite);
    const cells = known.length ? [Math.min(...known), known.reduce((a, b) => a + b, 0) / known.length, Math.max(...known)] : [NaN, NaN, NaN];
    return element("tr", {}, element("th", { scope: "row" }, name),
      ...[history.value(column, history.length - 1), ...cells].map((x) => element("td", {}, write(x))));
  }));
}

// read shows the values at the time chosen, or now.
function read() {
  const i = chosen < 0 ? history.length - 1 : history.nearest(chosen);
  for (const c of charts) c.read(history, i, chosen >= 0);
  const box = $("cursor"), last = history.length - 1, first = history.from(begin(history.at[last]));
  box.setAttribute("aria-valuemax", Math.max(0, last - first));
  box.setAttribute("aria-valuenow", Math.max(0, i - first));
  if (i < 0) return;
  const v = (column) => history.value(column, i);
  const at = chosen < 0 ? "now" : time(history.at[i]);
  box.setAttribute("aria-valuetext", `${at}: arrival rate ${count(v("arrivals"))} and throughput ${count(v("throughput"))} per second, ` +
    `in use ${count(v("inUse"))}, queued ${count(v("queued"))}, limit ${count(v("limit"))}, max ${count(v("max"))}, ` +
    `wait p99 ${milliseconds(v("waitP99"))}, response p99 ${milliseconds(v("responseP99"))}`);
  $("cursor-help").textContent = chosen < 0
    ? "Point at the curves to read them, or focus them and use the arrow keys. ▲▼ mark decisions."
    : `Read at ${at}${near(history.at[i])}`;
}

// near names the decision that was taken at about a time.
function near(at) {
  const d = decisions.all.findLast((d) => d.at <= at + 500 && d.at > at - 1500);
  return d ? `: ${d.action}, ${d.what}: ${d.sentence}` : "";
}

function choose(t) {
  chosen = t;
  read();
}

$("cursor").addEventListener("pointermove", pointed);
$("cursor").addEventListener("pointerdown", pointed);
$("cursor").addEventListener("pointerleave", () => choose(-1));
$("cursor").addEventListener("blur", () => choose(-1));
function pointed(e) {
  const box = $("charts").getBoundingClientRect();
  const share = (e.clientX - box.left - left) / (box.width - left - right);
  if (!history.length || share < -0.05) return;
  const end = history.at[history.length - 1];
  choose(end - (end - begin(end)) * (1 - Math.min(1, Math.max(0, share))));
}
$("cursor").addEventListener("keydown", (e) => {
  const last = history.length - 1;
  if (last < 0) return;
  const first = history.from(begin(history.at[last]));
  const i = chosen < 0 ? last : history.nearest(chosen), page = Math.max(1, Math.round((last - first) / 10));
  const to = { ArrowLeft: i - 1, ArrowRight: i + 1, ArrowDown: i - 1, ArrowUp: i + 1, PageDown: i - page, PageUp: i + page, Home: first, End: last, Escape: -1 }[e.key];
  if (to === undefined) return;
  e.preventDefault();
  choose(e.key === "Escape" ? -1 : history.at[Math.min(last, Math.max(first, to))]);
});

$("span").addEventListener("change", (e) => {
  span = Number(e.target.value);
  render();
});
$("figures").addEventListener("toggle", render);
new ResizeObserver(() => { render(); curve.draw(); }).observe($("main"));
document.addEventListener("visibilitychange", render);

// announce tells a screen reader what a person looking would notice at once.
function announce(text) { $("announcer").textContent = text; }

function connection(kind, text) {
  const box = $("connection");
  if (box.dataset.state === kind) return;
  if (kind === "lost" || box.dataset.state === "lost") announce(text);
  box.dataset.state = kind;
  box.textContent = text;
  if (kind === "lost") { // what was is not what is
    $("verdict").dataset.status = "unknown";
    $("verdict-text").textContent = verdict ? `was ${verdict}` : "health unknown";
  }
}

function show(next) {
  if (!next) return;
  state = next;
  curve.show(state);
  const health = state.health, status = health?.status ?? "unknown";
  $("verdict").dataset.status = status;
  $("verdict-text").textContent = health ? (state.frozen ? `${status}, frozen by hand` : status) : "health unknown";
  if (health && verdict && verdict !== status) announce(`Health is now ${status}: ${health.reasons.join("; ") || "no complaints"}`);
  if (health) verdict = status;
  const causes = !health ? ["not asked yet"] : health.reasons.length ? health.reasons : ["nothing to complain about"];
  const list = $("causes");
  list.dataset.status = status;
  if (list.textContent !== causes.join("")) list.replaceChildren(...causes.map((c) => element("li", {}, c)));
  facts($("health"), health?.facts ?? []);
  $("decided").textContent = `Last decision: ${state.decided}.`;
}

new Stream({
  live: () => connection("live", "live"),
  lost: () => connection("lost", history.length ? `no connection; last seen ${time(history.at[history.length - 1])}` : "no connection"),
  hello(h) {
    history.describe(h.columns, h.kept);
    $("name").textContent = h.name;
    document.title = h.name ? `${h.name} – autotune` : "autotune";
    $("settings").replaceChildren(...h.settings.map((group) => {
      const list = element("dl", { class: "facts" });
      facts(list, group.rows);
      return element("section", {}, element("h3", {}, group.name), list);
    }));
    if (!h.settings.length) $("settings").textContent = "unknown: this source does not tell";
  },
  history(h) {
    if (h.whole) {
      history.clear();
      decisions.clear();
    }
    h.points.forEach((p) => history.add(p));
    decisions.add(h.decisions);
    show(h.state);
    render();
  },
  tick(t) {
    history.add(t.point);
    decisions.add(t.decisions);
    show(t.state);
    render();
  },
});
