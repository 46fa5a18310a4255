// The points this page knows: up to an hour, oldest first.

export class History {
  constructor() {
    this.at = []; // Unix milliseconds
    this.values = {}; // by column name, in step with at
    this.columns = [];
    this.kept = 3600;
  }

  // describe says what the columns of a point are.
  describe(columns, kept) {
    this.kept = kept;
    if (columns.join() === this.columns.join()) return;
    this.columns = columns;
    this.clear();
  }

  clear() {
    this.at = [];
    this.values = Object.fromEntries(this.columns.map((c) => [c, []]));
  }

  // add appends a point as it came: its time, then its columns.
  add([at, ...values]) {
    if (this.at.length && at <= this.at[this.at.length - 1]) return; // known already
    this.at.push(at);
    this.columns.forEach((c, i) => this.values[c].push(values[i] ?? NaN));
    if (this.at.length <= this.kept + 60) return; // a minute of slack, so as not to move all each second
    const extra = this.at.length - this.kept;
    this.at.splice(0, extra);
    for (const c of this.columns) this.values[c].splice(0, extra);
  }

  get length() { return this.at.length; }

  // from is the index of the first point not before a time.
  from(t) {
    let low = 0, high = this.at.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.at[middle] < t) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // nearest is the index of the point nearest to a time; -1 without any.
  nearest(t) {
    const i = this.from(t);
    if (i === this.length) return i - 1;
    return i > 0 && t - this.at[i - 1] < this.at[i] - t ? i - 1 : i;
  }

  value(column, i) { return i < 0 || i >= this.length ? NaN : this.values[column]?.[i] ?? NaN; }
}
