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
// How long a message is sent again, from its first sending: as long as the server remembers it.
const IDEMPOTENCY_WINDOW_MS = 120_000;

// Close codes after which reconnecting unchanged cannot succeed.
const WRONG_CLIENT_CODES = [1002, 1003, 1007, 1008, 1009];
// The close code for a message that is too large.
const TOO_LARGE = 1009;
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
 * @param {(event: {topic, seq, id, payload, ts, position}) => void} options.onEvent
 * @param {(gap: {topic, reason, from_seq?, to_seq?, count?, position}) => void} options.onGap a range of missing events; after
 *   `epoch_changed` the range is unknown
 * @param {(end: {code, text}) => void} [options.onStop] reconnecting cannot succeed: the topic was deleted,
 *   another subscriber took over, the key or the request is invalid
 * @param {(presence: {topic, total, subscribers?, joined?, left?, position}) => void} [options.onPresence] who is subscribed to the
 *   topic, by client id: at the beginning and after each reconnect `subscribers`, all of them (of more than 1000, the first 1000 by
 *   name), then who `joined` and `left`; `total` counts all of them. `Subscribers` keeps the names
 * @param {(isConnected: boolean) => void} [options.onConnection]
 * @param {string} [options.clientId] unique in the topic; default: random
 * @param {string} [options.key]
 * @param {number} [options.lastN] start with the newest n events
 * @param {{seq, epoch}} [options.position] start after this position of an event or a gap
 * @param {boolean} [options.waitForTopic] wait for a topic that does not exist yet, and begin with its first event; without it
 *   that is an end like an invalid request
 * @param {number} [options.quietMs] silence after which a ping request is sent
 * @returns {{close(): void}}
 */
export function subscribe(url, topic, options) {
  return follow(url, new Subscription(topic, options), options);
}

/**
 * Subscribes to all topics that match a pattern such as `shop.*`, also to those that are created later. As `subscribe`, but a
 * topic that is deleted does not end it, nor one that another subscriber takes over while others are left.
 *
 * To resume in a new page, store the position of each entry under its topic, forget it when the topic is `deleted`, and pass
 * all of them as `positions`: a topic without one is replayed from the beginning of its history.
 *
 * With `onPresence`, the list of each topic follows when it has `joined`; forget it when the topic is `deleted` or `replaced`.
 *
 * @param {string} url as in `subscribe`
 * @param {string} pattern
 * @param {object} options those of `subscribe`, without `position` and `waitForTopic`, and:
 * @param {(change: {change, topic?, position?, count?}) => void} [options.onTopic] `change` is `joined`; `deleted`; `replaced`, when
 *   another subscriber with the same client id has taken the topic over; or `not_joined`, when the server allows no more topics on
 *   this connection: for several there is a `count` instead of a `topic`
 * @param {Record<string, {seq, epoch}>} [options.positions] start after the position of each topic
 * @returns {{close(): void}}
 */
export function subscribePattern(url, pattern, options) {
  return follow(url, new PatternSubscription(pattern, options), options);
}

function follow(url, subscription, options) {
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
      const { event, gap, presence, changes, end, isTemporary } = subscription.handle(JSON.parse(data));
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
      if (presence) options.onPresence?.(presence);
      changes?.forEach((change) => options.onTopic?.(change));
    };
  };
  connect();
  return { close };
}

/** Who is subscribed to one topic, after the last `apply`. Of more than 1000 subscribers, some names may be missing. */
export class Subscribers {
  total = 0;
  names = new Set();

  /** Takes what `onPresence` was called with. */
  apply({ total, subscribers, joined = [], left = [] }) {
    this.total = total;
    if (subscribers) this.names = new Set(subscribers);
    left.forEach((name) => this.names.delete(name));
    joined.forEach((name) => this.names.add(name));
  }
}

/** The server answered a publish with an error. */
export class Refused extends Error {
  constructor({ code, message }) {
    super(`${code}: ${message}`);
    this.code = code;
  }
}

/**
 * No ack came, and the message cannot be sent again any more: there was no connection in time, the window has passed, or no
 * server takes it. It may or may not be published.
 */
export class Unacknowledged extends Error {
  constructor(id, reason) {
    super(`no ack for message ${id}: ${reason}`);
    this.id = id;
  }
}

/** The message was not sent: there was no connection in time, or the publisher is closed. */
export class NotSent extends Error {
  constructor(id, reason) {
    super(`message ${id} was not sent: ${reason}`);
    this.id = id;
  }
}

/**
 * Publishes over one connection, opened with the first message and again after a loss. A message without an ack is then sent
 * again, within `idempotencyWindowMs` after its first sending: it is published once. The window must not be longer than that of
 * the server. `url` is as in `subscribe`.
 */
export class Publisher {
  #servers;
  #timeoutMs;
  #windowMs;
  /** Resolves to the open socket, or to `null` after an error; `null` without an attempt. */
  #opening = null;
  #socket = null;
  /** The messages without an answer, by request id, in the order in which they were sent. */
  #pending = new Map();
  #number = 0;
  #notBefore = 0;
  /** The previous call: messages are sent in the order of the calls, also if they wait for a connection. */
  #turn = Promise.resolve();
  /** Why the publisher is closed. */
  #end = null;

  constructor(
    url,
    { key, timeoutMs = PUBLISH_TIMEOUT_MS, idempotencyWindowMs = IDEMPOTENCY_WINDOW_MS } = {},
  ) {
    this.#servers = new Servers(url, key);
    this.#timeoutMs = timeoutMs;
    this.#windowMs = idempotencyWindowMs;
  }

  /**
   * Resolves to the sequence number of the message; rejects with `Refused`, `Unacknowledged` or `NotSent`. A message with the id
   * of an earlier one is not published again, and has its number.
   */
  async publish(topic, payload, id = newId()) {
    const until = Date.now() + this.#timeoutMs;
    const turn = this.#turn.then(() => this.#connected(id, until));
    this.#turn = turn.catch(() => {});
    const socket = await turn;
    const request_id = String((this.#number += 1));
    const text = JSON.stringify({ type: "publish", topic, message: { id, payload }, idempotent: true, request_id });
    return new Promise((resolve, reject) => {
      this.#pending.set(request_id, { socket, id, text, firstSent: Date.now(), isResent: false, resolve, reject });
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
      this.#onLoss(socket, code);
    });
    this.#socket = socket;
    socket.onopen = () => {
      this.#sendAgain(socket);
      opened(socket);
    };
    socket.onmessage = ({ data }) => {
      this.#servers.noteAnswer();
      const frame = JSON.parse(data);
      const pending = this.#pending.get(frame.request_id);
      if (pending) this.#onAnswer(frame, pending, socket);
    };
    return opening;
  }

  #onAnswer(frame, pending, socket) {
    const isError = frame.type === "error";
    // Nobody knows yet whether it is published: it is sent over another connection.
    if (isError && pending.isResent && TEMPORARY_ERRORS.includes(frame.error.code)) return socket.close();
    this.#pending.delete(frame.request_id);
    if (isError && !pending.isResent) pending.reject(new Refused(frame.error));
    else if (isError) pending.reject(new Unacknowledged(pending.id, frame.error.code));
    else if (pending.isResent && !frame.duplicate && this.#isOver(pending)) this.#giveUp(frame.request_id, "too late");
    else pending.resolve(frame.seq);
  }

  #onLoss(socket, code) {
    const lost = [...this.#pending].filter(([, pending]) => pending.socket === socket);
    if (code === TOO_LARGE && lost.length > 0) {
      // The server answers in order: it was the first without an answer, and those after it were not read.
      const [request_id, { reject }] = lost.shift();
      this.#pending.delete(request_id);
      reject(new Refused({ code: "PAYLOAD_TOO_LARGE", message: "the message is larger than the server accepts" }));
    } else if (this.#end || mustStop(code)) {
      for (const [request_id] of lost.splice(0)) this.#giveUp(request_id, `connection closed with ${code}`);
    }
    if (lost.length === 0) return;
    // The next connection begins with them.
    this.#connected(null, Date.now() + this.#timeoutMs).catch(({ message }) => {
      for (const [request_id] of lost) this.#giveUp(request_id, message);
    });
  }

  #sendAgain(socket) {
    for (const [request_id, pending] of this.#pending) {
      if (this.#isOver(pending)) {
        this.#giveUp(request_id, "too late");
        continue;
      }
      pending.isResent = true;
      pending.socket = socket;
      socket.send(pending.text);
    }
  }

  #isOver({ firstSent }) {
    return Date.now() - firstSent >= this.#windowMs;
  }

  #giveUp(request_id, reason) {
    const pending = this.#pending.get(request_id);
    if (!pending) return;
    this.#pending.delete(request_id);
    pending.reject(new Unacknowledged(pending.id, reason));
  }
}

/** The position in one topic, and the check of its numbers. */
class Cursor {
  #topic;
  /** `null` before the first ack. */
  position;
  // From the last ack. Used only after its gap: if the connection is lost in between, nothing has changed.
  #ackedEpoch = null;
  // After a subscribe with `lastN`, or in a new epoch, the first number may be any.
  #openStart = false;

  constructor(topic, position = null) {
    this.#topic = topic;
    this.position = position;
  }

  /** Without a position, the newest `lastN` events were requested; `null` is all of them. */
  onAck({ seq, epoch }, lastN) {
    this.#ackedEpoch = epoch;
    if (this.position) return;
    this.#openStart = lastN > 0;
    this.position = { seq: lastN === null ? 0 : Math.max(seq - lastN, 0), epoch };
  }

  onEvent({ seq, message, ts }) {
    const last = this.position.seq;
    if (seq !== last + 1 && !(this.#openStart && seq > last)) return this.#unexpected(`event ${seq}`);
    const position = this.#advance(seq);
    return { event: { topic: this.#topic, seq, id: message.id, payload: message.payload, ts, position } };
  }

  onGap({ gap, seq, epoch }) {
    if (gap.reason === "epoch_changed") {
      // On an open subscription the frame has the new position.
      this.position = epoch ? { seq, epoch } : { seq: 0, epoch: this.#ackedEpoch };
      this.#openStart = !epoch;
    } else if (gap.from_seq !== this.position.seq + 1 && !this.#openStart) {
      return this.#unexpected(`a gap from ${gap.from_seq}`);
    } else {
      this.#advance(gap.to_seq);
    }
    return { gap: { ...gap, topic: this.#topic, position: this.position } };
  }

  onPresence({ total, subscribers, joined, left }) {
    return { presence: { topic: this.#topic, total, subscribers, joined, left, position: this.position } };
  }

  #advance(seq) {
    this.#openStart = false;
    return (this.position = { seq, epoch: this.position.epoch });
  }

  #unexpected(what) {
    return { end: { code: "unexpected_seq", text: `${what} of ${this.#topic} after ${this.position.seq}` } };
  }
}

/** A subscription to one topic. Has no socket. */
class Subscription {
  #topic;
  #subscriber;
  #lastN;
  #cursor;
  #waitForTopic;
  #wasAcked = false;
  // The topic did not exist: all its events are new.
  #wasMissing = false;

  constructor(topic, { clientId, onPresence, lastN = 0, position = null, waitForTopic = false }) {
    this.#waitForTopic = waitForTopic;
    this.#topic = topic;
    this.#subscriber = subscriber(clientId, onPresence);
    this.#lastN = lastN;
    this.#cursor = new Cursor(topic, position);
  }

  request() {
    const { position } = this.#cursor;
    const start = position
      ? { after_seq: position.seq, epoch: position.epoch }
      : this.#wasMissing
        ? { after_seq: 0 }
        : { last_n: this.#lastN };
    return { type: "subscribe", topic: this.#topic, ...this.#subscriber, ...start };
  }

  handle(frame) {
    // A gap is an info or an error, depending on its reason.
    if (frame.gap) return this.#cursor.onGap(frame);
    switch (frame.type) {
      case "event":
        return this.#cursor.onEvent(frame);
      case "ack":
        this.#wasAcked = true;
        this.#cursor.onAck(frame, this.#wasMissing ? null : this.#lastN);
        return {};
      case "error": {
        // A restarted server has no topics until they are created again.
        const isMissing = frame.error.code === "TOPIC_NOT_FOUND" && (this.#wasAcked || this.#waitForTopic);
        this.#wasMissing ||= isMissing;
        return onError(frame.error, isMissing);
      }
      case "info": {
        if (frame.msg === "presence") return this.#cursor.onPresence(frame);
        const isEnd = frame.msg === "topic_deleted" || frame.msg === "subscription_replaced";
        return isEnd ? { end: { code: frame.msg, text: `the subscription to ${this.#topic} has ended` } } : {};
      }
      default:
        return {};
    }
  }
}

/** A subscription to all topics that match a pattern. Has no socket. */
class PatternSubscription {
  #pattern;
  #subscriber;
  #lastN;
  // After the first ack it resumes by positions: what has no position is then replayed from its beginning.
  #resumes;
  #cursors;
  // The topics whose events the server sends on this connection.
  #live = new Set();

  constructor(pattern, { clientId, onPresence, lastN = 0, positions = null }) {
    this.#pattern = pattern;
    this.#subscriber = subscriber(clientId, onPresence);
    this.#lastN = lastN;
    this.#resumes = positions !== null;
    const known = Object.entries(positions ?? {});
    this.#cursors = new Map(known.map(([topic, position]) => [topic, new Cursor(topic, position)]));
  }

  request() {
    this.#live.clear();
    const known = [...this.#cursors].map(([topic, { position }]) => [topic, position]);
    const start = this.#resumes ? { positions: Object.fromEntries(known) } : { last_n: this.#lastN };
    return { type: "subscribe", topic: this.#pattern, ...this.#subscriber, ...start };
  }

  handle(frame) {
    if (frame.gap || frame.type === "event" || frame.msg === "presence") {
      if (!this.#live.has(frame.topic)) {
        return { end: { code: "unexpected_topic", text: `${frame.topic} has not joined` } };
      }
      const cursor = this.#cursors.get(frame.topic);
      if (frame.gap) return cursor.onGap(frame);
      return frame.type === "event" ? cursor.onEvent(frame) : cursor.onPresence(frame);
    }
    switch (frame.type) {
      case "ack":
        this.#resumes = true;
        return {};
      case "error": {
        if (!frame.pattern) return onError(frame.error);
        const { topic, count = 1 } = frame;
        return { changes: [{ change: "not_joined", topic, count }] };
      }
      case "info":
        return this.#onInfo(frame);
      default:
        return {};
    }
  }

  #onInfo(frame) {
    switch (frame.msg) {
      case "subscribed":
        return { changes: this.#onSubscribed(frame) };
      case "topic_deleted":
        return { changes: this.#forget(frame.topic) };
      case "subscription_replaced":
        return this.#onReplaced(frame);
      default:
        return {};
    }
  }

  #onSubscribed(notice) {
    const { topic, recovered } = notice;
    // Without `recovered`, a topic with a position was deleted and created again before it joined.
    const changes = recovered === undefined ? this.#forget(topic) : [];
    this.#live.add(topic);
    const known = this.#cursors.get(topic);
    const cursor = known ?? new Cursor(topic);
    cursor.onAck(notice, recovered === undefined ? this.#lastN : null);
    if (!known) {
      this.#cursors.set(topic, cursor);
      changes.push({ change: "joined", topic, position: cursor.position });
    }
    return changes;
  }

  #forget(topic) {
    this.#live.delete(topic);
    return this.#cursors.delete(topic) ? [{ change: "deleted", topic }] : [];
  }

  #onReplaced({ topic, msg }) {
    this.#live.delete(topic);
    if (this.#live.size > 0) return { changes: [{ change: "replaced", topic }] };
    return { end: { code: msg, text: `the subscription to ${this.#pattern} has ended` } };
  }
}

function subscriber(clientId = `page-${newId()}`, onPresence) {
  // Absent, not false, for servers that are older than presence.
  return { client_id: clientId, presence: onPresence ? true : undefined };
}

function onError({ code, message }, isTemporary = false) {
  if (isTemporary || TEMPORARY_ERRORS.includes(code)) return { isTemporary: true };
  if (ERRORS_BEFORE_CLOSE.includes(code)) return {};
  return { end: { code, text: message } };
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
