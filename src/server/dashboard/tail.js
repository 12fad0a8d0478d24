
// The live tail of one topic, or of all that match a pattern: a normal subscription, resumed at its positions after a lost
// connection.

const KEPT_EVENTS = 500;
const FIRST_EVENTS = 20;
const SHOWN_CHARS = 2000;
const UNAUTHORIZED = 4001;
const MAX_BACKOFF_MS = 15_000;

const randomName = () => [...crypto.getRandomValues(new Uint8Array(6))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** A copy of the start of a text. A slice would keep the whole frame in memory. */
const beginningOf = (text) => JSON.parse(JSON.stringify(text.slice(0, SHOWN_CHARS)));

/** The payload verbatim, since parsing could change its numbers. Fields before it contain no escaped quotes. */
function payloadOf(text) {
  const from = text.indexOf('"payload":') + '"payload":'.length;
  return text.slice(from, text.lastIndexOf('},"seq":'));
}

class Tail {
  /** A topic or a pattern. */
  topic = null;
  /** The topic last set in the publish form by the tail. */
  #suggested = "";
  clientId = `dashboard-${randomName()}`;
  #socket = null;
  #timer = null;
  #failures = 0;
  #paused = false;
  /** Rows to show with the next frame or after the pause; the newest last. */
  #waiting = [];
  /** The topics that have begun, by name. */
  #tailed = new Map();
  /** Whether a pattern was acknowledged: from then on it resumes, and all its new topics are read from their beginning. */
  #hasBegun = false;

  start(topic) {
    this.stop();
    this.#waiting = [];
    this.topic = topic;
    this.#tailed.clear();
    [this.#hasBegun, this.#failures] = [false, 0];
    byId("tail-rows").replaceChildren();
    byId("tail-topic").value = topic;
    if (!this.#isPattern) this.#suggest(topic);
    this.#connect();
    topicTable.render();
    byId("tail").scrollIntoView({ block: "nearest" });
  }

  get #isPattern() {
    return this.topic?.includes("*");
  }

  /** Keeps the rows, including those held by a pause. */
  stop() {
    clearTimeout(this.#timer);
    this.topic = null;
    this.#drop();
    this.#state("off");
    this.#pause(false);
    topicTable.render();
  }

  /** Sets the topic of the publish form, unless the user has changed it. */
  #suggest(topic) {
    const box = byId("publish-topic");
    if (box.value === "" || box.value === this.#suggested) box.value = topic;
    this.#suggested = topic;
  }

  /** A new key needs a new connection. */
  reconnect() {
    if (!this.topic) return;
    clearTimeout(this.#timer);
    this.#drop();
    this.#connect();
  }

  togglePause() {
    this.#pause(!this.#paused);
  }

  /** Hides events without the filter text. Marks stay visible. */
  filter() {
    for (const row of byId("tail-rows").children) row.hidden = !this.#matches(row);
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #connect() {
    // Browsers do not report why a handshake failed. The poller knows that a key is needed, and reconnects with it.
    if (document.body.dataset.state === "locked") return this.#state("locked");
    const url = new URL("ws", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const base64url = btoa(keyBytes()).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    const socket = new WebSocket(url, key ? ["threadcast.v1", `bearer.${base64url}`] : []);
    this.#socket = socket;
    this.#state("connecting");
    socket.onopen = () => this.#subscribe(socket);
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#receive(data);
    };
    socket.onclose = ({ code, reason }) => {
      if (socket === this.#socket) this.#lost(code, reason);
    };
  }

  #subscribe(socket) {
    this.#tailed.forEach((topic) => topic.beforeResume());
    socket.send(JSON.stringify({ type: "subscribe", topic: this.topic, client_id: this.clientId, ...this.#start() }));
  }

  #start() {
    if (this.#isPattern && this.#hasBegun) {
      const position = ([name, { epoch, next }]) => [name, { seq: (next ?? 1) - 1, epoch }];
      return { positions: Object.fromEntries([...this.#tailed].map(position)) };
    }
    const { epoch, next } = this.#tailed.get(this.topic) ?? { next: null };
    return next === null ? { last_n: FIRST_EVENTS } : { after_seq: next - 1, epoch };
  }

  #lost(code, reason) {
    this.#socket = null;
    const mayReturn = code < 4000 || code >= 4100;
    if (code >= 4000) this.#mark(`closed: ${reason} (${code})`, "plain");
    if (code === UNAUTHORIZED) {
      // Reconnects with another key.
      this.#pause(false);
      poller.now();
      return this.#state("locked");
    }
    if (!mayReturn) return this.stop();
    this.#failures += 1;
    const pause = backoff(this.#failures, MAX_BACKOFF_MS);
    this.#state("retrying");
    this.#timer = setTimeout(() => this.#connect(), pause);
  }

  #receive(text) {
    const frame = JSON.parse(text);
    if (frame.type === "event") this.#event(frame, text);
    else if (frame.gap) this.#gap(frame);
    else if (frame.type === "ack") this.#subscribed(frame);
    else if (frame.type === "error") this.#refused(frame);
    else if (frame.type === "info") this.#notice(frame);
  }

  #subscribed({ epoch, seq, matched }) {
    this.#failures = 0;
    this.#state("live");
    if (this.#isPattern) {
      if (!this.#hasBegun) this.#mark(`${count(matched)} ${matched === 1 ? "topic matches" : "topics match"}`, "plain");
      this.#hasBegun = true;
    } else {
      if (!this.#tailed.has(this.topic)) this.#tailed.set(this.topic, new TailedTopic());
      this.#tailed.get(this.topic).begin({ epoch, seq });
    }
  }

  /** A topic of the pattern begins. In a resume, one without a position is read from its beginning. */
  #joined({ topic, epoch, seq, recovered }) {
    // Without `recovered` it is not the one that was tailed before.
    if (recovered === undefined) this.#tailed.delete(topic);
    const known = this.#tailed.get(topic);
    const tailed = known ?? new TailedTopic();
    tailed.begin({ epoch, seq });
    if (known) return;
    if (recovered !== undefined) tailed.next = 1;
    this.#tailed.set(topic, tailed);
    this.#mark(`${topic}: joined`, "plain");
  }

  #refused({ error: { code, message }, pattern, topic, count: topics }) {
    if (pattern) return this.#mark(`${topic ?? `${count(topics)} topics`} not joined: ${code}: ${message}`, "error");
    this.#mark(`${code}: ${message}`, "error");
    if (code === "TOPIC_NOT_FOUND" || code === "FORBIDDEN" || code === "BAD_REQUEST") this.stop();
    // Redis may be back soon; so may a server that is being replaced.
    if (code === "UNAVAILABLE" || code === "SHUTTING_DOWN") this.#socket?.close();
  }

  #notice(frame) {
    const { msg, topic, seq } = frame;
    if (msg === "ping") return;
    if (msg === "subscribed") return this.#joined(frame);
    this.#mark(this.#prefix(topic) + msg.replaceAll("_", " ") + (seq === undefined ? "" : ` after ${seq}`), "plain");
    if (msg === "subscription_replaced" || (msg === "topic_deleted" && !this.#isPattern)) this.stop();
    else if (msg === "topic_deleted") this.#tailed.delete(topic);
  }

  /** Of a pattern, what is shown says which topic it is about. */
  #prefix(topic) {
    return this.#isPattern && topic ? `${topic}: ` : "";
  }

  /** Checks that an event or a gap starts with the expected number. */
  #check(topic, from, to) {
    const expected = this.#tailed.get(topic).advance(from, to);
    if (from > expected) {
      sequenceCheck.lost += from - expected;
      this.#mark(`${this.#prefix(topic)}NOT REPORTED: ${expected} to ${from - 1} are missing`, "error");
    } else if (from < expected) {
      sequenceCheck.disordered += 1;
      this.#mark(`${this.#prefix(topic)}${from} arrived, expected ${expected}`, "error");
    }
    sequenceCheck.show();
  }

  #event({ topic, seq, ts }, text) {
    sequenceCheck.checked += 1;
    this.#check(topic, seq, seq);
    const payload = payloadOf(text);
    const shown = payload.length > SHOWN_CHARS ? `${beginningOf(payload)}… (${count(payload.length)} characters)` : payload;
    this.#push({ topic: this.#isPattern ? topic : "", seq, ts, payload: visible(shown) });
  }

  #gap({ topic, gap: { from_seq, to_seq, count: events, reason }, epoch, seq }) {
    const why = reason.replaceAll("_", " ");
    if (to_seq === undefined) {
      this.#tailed.get(topic).restart(epoch, seq);
      return this.#mark(`${this.#prefix(topic)}gap: ${why}, numbering restarts`, "gap");
    }
    this.#check(topic, from_seq, to_seq);
    const what = `${count(events)} ${events === 1 ? "event" : "events"} not sent (${from_seq} to ${to_seq})`;
    this.#mark(`${this.#prefix(topic)}gap: ${what}, ${why}`, "gap");
  }

  #mark(text, kind) {
    this.#push({ mark: text, kind });
  }

  #push(row) {
    this.#waiting.push(row);
    if (this.#waiting.length > KEPT_EVENTS) this.#waiting.shift();
    if (this.#paused) this.#note();
    else if (this.#waiting.length === 1) requestAnimationFrame(() => this.#show());
  }

  #show() {
    if (this.#paused || this.#waiting.length === 0) return;
    const list = byId("tail-rows");
    const rows = this.#waiting.reverse().map((row) => this.#row(row));
    this.#waiting = [];
    list.prepend(...rows);
    for (const hidden of [false, true]) {
      const kept = [...list.children].filter((row) => row.hidden === hidden);
      kept.slice(KEPT_EVENTS).forEach((row) => row.remove());
    }
  }

  #row({ topic, seq, ts, payload, mark, kind }) {
    if (mark !== undefined) return make("li", { className: `mark ${kind}`, textContent: mark });
    const row = make(
      "li",
      { "data-seq": seq },
      make("span", { className: "seq", textContent: String(seq) }),
      make("span", { className: "time", textContent: clock(new Date(ts)), title: ts }),
      make("span", { className: "payload", textContent: payload }),
    );
    if (topic) row.append(make("span", { className: "topic", textContent: topic }));
    row.hidden = !this.#matches(row);
    return row;
  }

  #matches(row) {
    const needle = byId("tail-filter").value.trim().toLowerCase();
    return row.classList.contains("mark") || row.textContent.toLowerCase().includes(needle);
  }

  #pause(paused) {
    this.#paused = paused;
    const button = byId("tail-pause");
    setText(button, paused ? "Resume" : "Pause");
    this.#note();
    this.#show();
  }

  #note() {
    const held = this.#waiting.length >= KEPT_EVENTS ? `${KEPT_EVENTS} or more` : count(this.#waiting.length);
    const text = this.#paused ? `Paused, ${held} waiting. Events are still checked.` : `Shows the newest ${KEPT_EVENTS} events.`;
    setText(byId("tail-note"), text);
  }

  #state(state) {
    const badge = byId("tail-state");
    badge.dataset.state = state;
    setText(badge, { off: "off", connecting: "connecting", live: "live", retrying: "disconnected, reconnecting", locked: "needs a key" }[state]);
    const running = state !== "off";
    byId("tail-stop").disabled = !running;
    byId("tail-pause").disabled = !running;
  }
}

const tail = new Tail();

byId("tail-form").addEventListener("submit", (event) => {
  event.preventDefault();
  tail.start(byId("tail-topic").value.trim());
});
byId("tail-stop").addEventListener("click", () => tail.stop());
byId("tail-pause").addEventListener("click", () => tail.togglePause());
byId("tail-filter").addEventListener("input", () => tail.filter());

byId("publish-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const output = byId("publish-result");
  const payload = byId("publish-payload").value;
  const topic = byId("publish-topic").value.trim();
  // The latter two have another meaning in a path.
  if (["", ".", ".."].includes(topic)) return showResult(output, "Not a valid topic name", true);
  try {
    JSON.parse(payload);
  } catch (error) {
    return showResult(output, `Not JSON: ${error.message}`, true);
  }
  try {
    const { seq } = await request("POST", `${topicPath(topic)}/messages`, `{"payload":${payload}}`);
    showResult(output, `Published as ${count(seq)}`);
  } catch (error) {
    showResult(output, error.message, true);
  }
});
