// The stream of events. A browser comes back by itself when the server was away
// for a moment; when it gives up, or nothing has come for a while, this does.

const silence = 6000; // milliseconds: a point comes every second
const pause = [1000, 2000, 5000];

export class Stream {
  constructor(on) {
    this.on = on; // {hello, history, tick, live, lost}
    this.id = "";
    this.failures = 0;
    this.open();
    setInterval(() => this.watch(), 1000);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.watch(); });
  }

  open() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.source?.close();
    this.heard = Date.now();
    const source = this.source = new EventSource(this.id ? `events?after=${encodeURIComponent(this.id)}` : "events");
    for (const name of ["hello", "history", "tick"]) {
      source.addEventListener(name, (e) => {
        this.heard = Date.now();
        this.failures = 0;
        if (e.lastEventId) this.id = e.lastEventId;
        this.on.live();
        this.on[name](JSON.parse(e.data));
      });
    }
    source.addEventListener("error", () => {
      this.on.lost();
      if (source.readyState === EventSource.CLOSED) this.again();
    });
  }

  again() {
    if (this.timer !== undefined) return;
    this.timer = setTimeout(() => this.open(), pause[Math.min(this.failures++, pause.length - 1)]);
  }

  watch() {
    if (this.timer !== undefined || Date.now() - this.heard < silence) return;
    this.on.lost();
    if (this.source.readyState !== EventSource.CONNECTING || Date.now() - this.heard > 3 * silence) this.open();
  }
}
