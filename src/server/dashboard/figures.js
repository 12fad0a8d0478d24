
// Rates, sparklines, gaps, and the check for lost events.

const WINDOW_MS = 5 * 60_000;
/** The shortest time span of a chart. */
const SHORTEST_WINDOW_MS = 20_000;
const HOUR_MS = 60 * 60_000;

/** The rate of a counter over time, with its chart. */
class Rate {
  #points = [];

  constructor(direction, what) {
    const [figure, spark, note] = ["rate", "spark", "note"].map((part) => byId(`${direction}-${part}`));
    Object.assign(this, { figure, spark, note, what });
  }

  /** Adds an increase of the counter within `seconds`. */
  add(now, more, seconds) {
    this.#points.push({ at: now, rate: more / seconds });
    while (this.#points[0].at < now - WINDOW_MS) this.#points.shift();
    this.#draw(now);
  }

  forget() {
    this.#points = [];
    setText(this.figure, "–");
    setText(this.note, "");
    this.spark.replaceChildren();
  }

  #draw(now) {
    const newest = this.#points[this.#points.length - 1].rate;
    const peak = Math.max(...this.#points.map((point) => point.rate));
    const span = Math.max(now - this.#points[0].at, SHORTEST_WINDOW_MS);
    setText(this.figure, rate(newest));
    setText(this.note, `at most ${rate(peak)} in ${duration(span / 1000)}`);
    this.spark.setAttribute("aria-label", `${this.what} per second, at most ${rate(peak)} in the last ${duration(span / 1000)}`);
    const scale = Math.max(peak, 1);
    const places = this.#points.map(({ at, rate }) => {
      const x = 300 - (300 * (now - at)) / span;
      return `${x.toFixed(1)} ${(38 - (36 * rate) / scale).toFixed(1)}`;
    });
    const curve = `M${places.join("L")}`;
    const first = places[0].split(" ")[0];
    this.#path("area").setAttribute("d", `${curve}L300 40L${first} 40Z`);
    this.#path("curve").setAttribute("d", curve);
  }

  #path(name) {
    const found = this.spark.querySelector(`.${name}`);
    if (found) return found;
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", name);
    this.spark.append(path);
    return path;
  }
}

/** Events skipped for slow subscribers in the last hour, or since the page was opened. */
class GapCount {
  #since = Date.now();
  #minutes = new Map();

  add(dropped) {
    const minute = Math.floor(Date.now() / 60_000);
    if (dropped > 0) this.#minutes.set(minute, (this.#minutes.get(minute) ?? 0) + dropped);
    for (const past of this.#minutes.keys()) {
      if (past <= minute - 60) this.#minutes.delete(past);
    }
    const sum = [...this.#minutes.values()].reduce((total, one) => total + one, 0);
    setText(byId("gaps"), count(sum));
    const since = Date.now() - this.#since < HOUR_MS ? `, seen since ${clock(new Date(this.#since))}` : "";
    setText(byId("gaps-note"), `skipped for slow subscribers and reported to them${since}`);
  }
}

/** The check of this page: the number of every tailed event must follow the previous event or gap. */
const sequenceCheck = {
  checked: 0,
  lost: 0,
  disordered: 0,

  show() {
    const wrong = this.lost + this.disordered;
    byId("headline").dataset.state = wrong > 0 ? "bad" : this.checked > 0 ? "good" : "unknown";
    if (this.checked === 0 && wrong === 0) return;
    setText(byId("lost"), count(this.lost));
    const disordered = this.disordered > 0 ? ` ${count(this.disordered)} were duplicates or out of order.` : "";
    const events = this.checked === 1 ? "1 event" : `${count(this.checked)} events`;
    const note = `in ${events} tailed by this page: each number follows the previous event or gap.`;
    setText(byId("lost-note"), note + disordered);
  },
};

/** Compares each sample of the server with the previous one. */
class Overview {
  #before = null;
  #published = new Rate("in", "Messages published");
  #delivered = new Rate("out", "Events delivered");
  #gaps = new GapCount();

  /** Forgets everything about the server. */
  forget() {
    this.#before = null;
    this.#published.forget();
    this.#delivered.forget();
    for (const id of ["about", "topic-total", "subscription-total", "connection-total", "retained-total"]) setText(byId(id), id === "about" ? "" : "–");
  }

  /** Adds a sample. Returns the rate of each topic. */
  add(health, topics) {
    const now = performance.now();
    const before = this.#before;
    this.#before = { now, health, topics };
    setText(byId("about"), `${health.version} · up ${duration(health.uptime_sec)}${health.status === "ok" ? "" : ` · ${health.status}`}`);
    setText(byId("topic-total"), count(health.topics));
    setText(byId("subscription-total"), count(health.subscribers));
    setText(byId("connection-total"), count(health.connections));
    setText(byId("retained-total"), bytes(health.retained_bytes));
    const rates = new Map();
    if (!before || health.instance !== before.health.instance) {
      this.#published.forget();
      this.#delivered.forget();
      this.#gaps.add(0);
      return rates;
    }
    const seconds = (now - before.now) / 1000;
    let [published, dropped] = [0, 0];
    for (const [name, topic] of Object.entries(topics)) {
      // A topic that is new, or was created again, started at 0.
      const old = before.topics[name];
      const since = old && old.messages <= topic.messages ? old : { messages: 0, dropped: 0 };
      published += topic.messages - since.messages;
      dropped += Math.max(0, topic.dropped - since.dropped);
      rates.set(name, (topic.messages - since.messages) / seconds);
    }
    this.#published.add(now, published, seconds);
    this.#delivered.add(now, health.delivered - before.health.delivered, seconds);
    this.#gaps.add(dropped);
    return rates;
  }
}
