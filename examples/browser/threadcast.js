// SPDX-License-Identifier: MIT OR Apache-2.0
// A client of threadcast for browsers and Node.js 22 or later: subscribes with resume, publishes with acks.
// An ES module without dependencies: copy it next to your page.

const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 30_000;
// To connect: for a round through all addresses, of which each has an equal share.
const CONNECT_TIMEOUT_MS = 10_000;
// After this silence a subscriber sends a ping request; after the same time again the connection counts as dead.
const QUIET_MS = 25_000;
// How long a publish waits for a connection.
const PUBLISH_TIMEOUT_MS = 30_000;

// Close codes after which reconnecting unchanged cannot succeed.
const WRONG_CLIENT_CODES = [1002, 1003, 1007, 1008, 1009];
// Error codes after which a retry may succeed.
const TEMPORARY_ERRORS = ["SHUTTING_DOWN", "UNAVAILABLE", "INTERNAL"];
// Errors without a request: a close code follows and decides.
const ERRORS_BEFORE_CLOSE = ["SLOW_CONSUMER", "UNAUTHORIZED"];

/**
 * Subscribes to a topic. Reconnects after a lost connection and resumes after the last delivered entry.
 *
 * @param {string} url such as `wss://example.org/ws`; several servers of one cluster are separated by commas
 * @param {string} topic
 * @param {object} options
 * @param {(event: {seq, id, payload, ts, position}) => void} options.onEvent
 * @param {(gap: {reason, from_seq?, to_seq?, count?, position}) => void} options.onGap a range of missing events; after
 *   `epoch_changed` the range is unknown
 * @param {(end: {code, text}) => void} [options.onStop] reconnecting cannot succeed: the topic was deleted,
 *   another subscriber took over, the key or the request is invalid
 * @param {(isConnected: boolean) => void} [options.onConnection]
 * @param {string} [options.clientId] unique in the topic; default: random
 * @param {string} [options.key]
 * @param {number} [options.lastN] start with the newest n events
 * @param {{seq, epoch}} [options.position] start after this position of an event or a gap
 * @param {number} [options.quietMs] silence after which a ping request is sent
 * @returns {{close(): void}}
 */
export function subscribe(url, topic, options) {
  const subscription = new Subscription(topic, options);
  const servers = new Servers(url, options.key);
  const quietMs = options.quietMs ?? QUIET_MS;
  let socket = null;
  let timer = null;
  let isClosed = false;

  const stop = (code, text) => {
    if (isClosed) return;
    close();
    options.onStop?.({ code, text });
  };
  const close = () => {
    isClosed = true;
    clearTimeout(timer);
    socket?.close();
  };
  const connect = () => {
    let isBroken = false;
    let isOpen = false;
    let quiet = null;
    const { socket: current, end } = servers.open((code, reason) => {
      clearTimeout(quiet);
      isBroken = true;
      if (isOpen) options.onConnection?.(false);
      if (isClosed) return;
      if (mustStop(code)) return stop(code, reason);
      timer = setTimeout(connect, servers.next());
    });
    socket = current;
    // A page cannot send WebSocket pings, so a dead connection needs a check of its own.
    const restartTimer = () => {
      clearTimeout(quiet);
      quiet = setTimeout(() => {
        current.send(JSON.stringify({ type: "ping" }));
        quiet = setTimeout(() => {
          current.close();
          end(1006, "no reply to ping");
        }, quietMs);
      }, quietMs);
    };
    current.onopen = () => {
      current.send(JSON.stringify(subscription.request()));
      restartTimer();
    };
    current.onmessage = ({ data }) => {
      // Browsers deliver received messages even after the close event.
      if (isClosed || isBroken) return;
      restartTimer();
      const { event, gap, end, isTemporary } = subscription.handle(JSON.parse(data));
      if (end) return stop(end.code, end.text);
      if (isTemporary) {
        isBroken = true;
        clearTimeout(quiet);
        return current.close();
      }
      servers.noteAnswer();
      if (!isOpen) options.onConnection?.((isOpen = true));
      if (event) options.onEvent(event);
      if (gap) options.onGap(gap);
    };
  };
  connect();
  return { close };
}

/** The server answered a publish with an error. */
export class Refused extends Error {
  constructor({ code, message }) {
    super(`${code}: ${message}`);
    this.code = code;
  }
}

/**
 * The connection was lost before the ack: the message may or may not be published. Publish it again with the same id, so
 * that subscribers can recognise a copy.
 */
export class Unacknowledged extends Error {
  constructor(id, code) {
    super(`no ack for message ${id}: connection closed with ${code}`);
    this.id = id;
    this.code = code;
  }
}

/** The message was not sent: there was no connection in time, or the publisher is closed. */
export class NotSent extends Error {
  constructor(id, reason) {
    super(`message ${id} was not sent: ${reason}`);
    this.id = id;
  }
}

/** Publishes over one connection, opened with the first message and again after a loss. `url` is as in `subscribe`. */
export class Publisher {
  #servers;
  #timeoutMs;
  /** Resolves to the open socket, or to `null` after an error; `null` without an attempt. */
  #opening = null;
  #socket = null;
  #pending = new Map();
  #number = 0;
  #notBefore = 0;
  /** The previous call: messages are sent in the order of the calls, also if they wait for a connection. */
  #turn = Promise.resolve();
  /** Why the publisher is closed. */
  #end = null;

  constructor(url, { key, timeoutMs = PUBLISH_TIMEOUT_MS } = {}) {
    this.#servers = new Servers(url, key);
    this.#timeoutMs = timeoutMs;
  }

  /** Resolves to the sequence number of the message; rejects with `Refused`, `Unacknowledged` or `NotSent`. */
  async publish(topic, payload, id = newId()) {
    const until = Date.now() + this.#timeoutMs;
    const turn = this.#turn.then(() => this.#connected(id, until));
    this.#turn = turn.catch(() => {});
    const socket = await turn;
    const request_id = String((this.#number += 1));
    const text = JSON.stringify({ type: "publish", topic, message: { id, payload }, request_id });
    return new Promise((resolve, reject) => {
      this.#pending.set(request_id, { socket, id, resolve, reject });
      socket.send(text);
    });
  }

  /** Closes permanently: pending messages are rejected, and nothing more is sent. */
  close() {
    this.#end ??= "the publisher is closed";
    this.#socket?.close();
  }

  async #connected(id, until) {
    for (;;) {
      if (this.#end) throw new NotSent(id, this.#end);
      if (!this.#opening) {
        await sleep(Math.min(this.#notBefore, until) - Date.now());
        if (!this.#end) this.#opening ??= this.#open();
      }
      const socket = await withDeadline(this.#opening, until);
      if (this.#end) throw new NotSent(id, this.#end);
      if (socket) return socket;
      if (Date.now() >= until) throw new NotSent(id, "there was no connection in time");
    }
  }

  #open() {
    let opened;
    const opening = new Promise((resolve) => (opened = resolve));
    const { socket } = this.#servers.open((code, reason) => {
      opened(null);
      if (this.#opening === opening) this.#opening = null;
      this.#notBefore = Date.now() + this.#servers.next();
      if (code >= 4000 && code <= 4099) this.#end ??= `${code} ${reason}`;
      for (const [request_id, { socket: used, id, reject }] of this.#pending) {
        if (used !== socket) continue;
        this.#pending.delete(request_id);
        reject(new Unacknowledged(id, code));
      }
    });
    this.#socket = socket;
    socket.onopen = () => opened(socket);
    socket.onmessage = ({ data }) => {
      this.#servers.noteAnswer();
      const frame = JSON.parse(data);
      const pending = this.#pending.get(frame.request_id);
      if (!pending) return;
      this.#pending.delete(frame.request_id);
      if (frame.type === "error") pending.reject(new Refused(frame.error));
      else pending.resolve(frame.seq);
    };
    return opening;
  }
}

/** The position of a subscription, and the check of its numbers. Has no socket. */
class Subscription {
  #topic;
  #clientId;
  #lastN;
  #position;
  // From the last ack. Used only after its gap: if the connection is lost in between, nothing has changed.
  #ackedEpoch = null;
  // After a subscribe with `lastN`, or in a new epoch, the first number may be any.
  #openStart = false;

  constructor(topic, { clientId = `page-${newId()}`, lastN = 0, position = null }) {
    this.#topic = topic;
    this.#clientId = clientId;
    this.#lastN = lastN;
    this.#position = position;
  }

  request() {
    const start = this.#position
      ? { after_seq: this.#position.seq, epoch: this.#position.epoch }
      : { last_n: this.#lastN };
    return { type: "subscribe", topic: this.#topic, client_id: this.#clientId, ...start };
  }

  handle(frame) {
    // A gap is an info or an error, depending on its reason.
    if (frame.gap) return this.#onGap(frame.gap, frame);
    switch (frame.type) {
      case "event":
        return this.#onEvent(frame);
      case "ack":
        return this.#onAck(frame);
      case "error":
        return this.#onError(frame.error);
      case "info": {
        const isEnd = frame.msg === "topic_deleted" || frame.msg === "subscription_replaced";
        return isEnd ? { end: { code: frame.msg, text: `the subscription to ${this.#topic} has ended` } } : {};
      }
      default:
        return {};
    }
  }

  #onAck({ seq, epoch }) {
    this.#ackedEpoch = epoch;
    if (!this.#position) {
      this.#openStart = this.#lastN > 0;
      this.#position = { seq: Math.max(seq - this.#lastN, 0), epoch };
    }
    return {};
  }

  #onEvent({ seq, message, ts }) {
    const last = this.#position.seq;
    if (seq !== last + 1 && !(this.#openStart && seq > last)) {
      return { end: { code: "unexpected_seq", text: `event ${seq} after ${last}` } };
    }
    return { event: { seq, id: message.id, payload: message.payload, ts, position: this.#advance(seq) } };
  }

  #onGap(gap, { seq, epoch }) {
    if (gap.reason === "epoch_changed") {
      // On an open subscription the frame has the new position.
      this.#position = epoch ? { seq, epoch } : { seq: 0, epoch: this.#ackedEpoch };
      this.#openStart = !epoch;
      return { gap: { ...gap, position: this.#position } };
    }
    const last = this.#position.seq;
    if (gap.from_seq !== last + 1 && !this.#openStart) {
      return { end: { code: "unexpected_seq", text: `a gap from ${gap.from_seq} after ${last}` } };
    }
    return { gap: { ...gap, position: this.#advance(gap.to_seq) } };
  }

  #advance(seq) {
    this.#openStart = false;
    return (this.#position = { seq, epoch: this.#position.epoch });
  }

  #onError({ code, message }) {
    // A restarted server has no topics until they are created again.
    const isMissing = code === "TOPIC_NOT_FOUND" && this.#ackedEpoch !== null;
    if (isMissing || TEMPORARY_ERRORS.includes(code)) return { isTemporary: true };
    if (ERRORS_BEFORE_CLOSE.includes(code)) return {};
    return { end: { code, text: message } };
  }
}

/**
 * The addresses of the servers, tried in turn, and the pauses: one follows when each address has failed. They double and
 * have a random part, so that clients do not reconnect at the same time.
 */
class Servers {
  #urls;
  #key;
  #place = 0;
  // Since the last pause.
  #failed = 0;
  #pause = FIRST_PAUSE_MS;
  #answeredAt = null;

  constructor(urls, key) {
    this.#urls = urls.split(",").map((url) => url.trim());
    this.#key = key;
  }

  /** Connects to the address whose turn it is, see `open` below. */
  open(ended) {
    return open(this.#urls[this.#place], this.#key, CONNECT_TIMEOUT_MS / this.#urls.length, ended);
  }

  /** The server answers. */
  noteAnswer() {
    this.#pause = FIRST_PAUSE_MS;
    this.#answeredAt ??= Date.now();
  }

  /** It is the turn of the next address: returns the pause before the attempt. */
  next() {
    this.#place = (this.#place + 1) % this.#urls.length;
    // A connection that was open only briefly counts as a failed attempt.
    if (this.#answeredAt !== null && Date.now() - this.#answeredAt > MAX_PAUSE_MS) this.#failed = 0;
    this.#answeredAt = null;
    this.#failed += 1;
    if (this.#failed < this.#urls.length) return 0;
    this.#failed = 0;
    const pause = this.#pause * (0.5 + Math.random() / 2);
    this.#pause = Math.min(this.#pause * 2, MAX_PAUSE_MS);
    return pause;
  }
}

// Opens a socket. Calls `ended` once, with code and reason. The returned `end` calls it before the socket reports its end.
// After a failed attempt some environments (Node.js 22) only fire an error event, others also a close event.
function open(url, key, timeoutMs, ended) {
  const socket = key ? new WebSocket(url, ["threadcast.v1", subprotocol(key)]) : new WebSocket(url);
  let isOpen = false;
  let isClosed = false;
  const end = (code, reason) => {
    if (isClosed) return;
    isClosed = true;
    clearTimeout(late);
    ended(code, reason);
  };
  const late = setTimeout(() => {
    end(1006, "no answer to the handshake");
    socket.close();
  }, timeoutMs);
  socket.addEventListener("open", () => {
    isOpen = true;
    clearTimeout(late);
  });
  socket.addEventListener("error", () => isOpen || end(1006, ""));
  socket.addEventListener("close", ({ code, reason }) => end(code, reason));
  return { socket, end };
}

// Browsers cannot set headers on a WebSocket, so the key is sent as a subprotocol.
function subprotocol(key) {
  const base64url = btoa(key).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return `bearer.${base64url}`;
}

// In a browser every refused handshake is 1006, so it is retried.
function mustStop(code) {
  return (code >= 4000 && code <= 4099) || WRONG_CLIENT_CODES.includes(code);
}

function sleep(millis) {
  return millis > 0 ? new Promise((resolve) => setTimeout(resolve, millis)) : undefined;
}

// The result of a promise, or `null` after the deadline.
function withDeadline(promise, until) {
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, Math.max(until - Date.now(), 0), null)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// `crypto.randomUUID` needs TLS or a local page.
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
