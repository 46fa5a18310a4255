// The list of decisions, newest first. An entry that was opened stays open.

import { element, facts, time } from "./format.js";

const shown = 150; // a screen reader and a phone shall cope
const kept = 400;

export class Decisions {
  constructor(list, count) {
    Object.assign(this, { list, count, all: [] });
  }

  clear() {
    this.all = [];
    this.list.replaceChildren();
  }

  add(decisions) {
    for (const d of decisions) {
      if (this.all.length && d.n <= this.all[this.all.length - 1].n) continue; // known already
      this.all.push(d);
      this.list.prepend(entry(d));
    }
    while (this.list.children.length > shown) this.list.lastElementChild.remove();
    if (this.all.length > kept) this.all.splice(0, this.all.length - kept);
    const n = this.all.length;
    this.count.textContent = n === 0 ? "none yet" : n > shown ? `the latest ${shown} of ${n}, newest first` : `${n}, newest first`;
  }
}

function entry(d) {
  const at = element("time", { datetime: new Date(d.at).toISOString() }, time(d.at));
  const summary = element("summary", {}, at,
    element("span", { class: "action", "data-action": d.action }, d.action),
    element("span", { class: "what" }, d.what), element("span", { class: "why" }, d.sentence));
  const details = element("details", {}, summary);
  details.addEventListener("toggle", () => { // most are never opened
    if (details.children.length > 1) return;
    const list = element("dl", { class: "facts" });
    facts(list, [{ name: "reason", value: d.reason }, ...d.evidence], true);
    details.append(list);
  });
  return element("li", {}, details);
}
