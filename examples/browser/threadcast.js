// SPDX-License-Identifier: MIT OR Apache-2.0
// A client of threadcast for browsers, and for node from 22 on: subscribing with resume, publishing with ack.
// An ES module without dependencies: copy it next to your page.

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
// Silence after which a subscriber asks the server for a sign of life, and after as much again takes the connection for dead.
const QUIET_MS = 25_000;
// How long a publish waits for a connection.
const PUBLISH_TIMEOUT_MS = 30_000;

// Ends of a connection after which coming back as we are would only end the same way.
const WRONG_CLIENT_CODES = [1002, 1003, 1007, 1008, 1009];
// Answers to a request after which another try may succeed.
const PASSING_ERRORS = ["SHUTTING_DOWN", "INTERNAL"];
// Errors that answer nothing: a close code follows and tells what to do.
const BEFORE_A_CLOSE = ["SLOW_CONSUMER", "UNAUTHORIZED"];

/**
 * Follows a topic. Comes back by itself after a lost connection and resumes behind what was handed over last.
 *
 * @param {string} url such as `wss://example.org/ws`
 * @param {string} topic
 * @param {object} options
 * @param {(event: {seq, id, payload, ts, position}) => void} options.onEvent
 * @param {(gap: {reason, from_seq?, to_seq?, count?, position}) => void} options.onGap events that will not come; after
 *   `epoch_changed` without numbers, for how many is not known
 * @param {(end: {code, text}) => void} [options.onStop] coming back makes no sense: the topic was deleted, another
 *   subscriber took over, the key or the request is wrong
 * @param {(isConnected: boolean) => void} [options.onConnection]
 * @param {string} [options.clientId] unique in the topic; without it a random one
 * @param {string} [options.key]
 * @param {number} [options.lastN] begin with the newest n events
 * @param {{seq, epoch}} [options.position] begin behind this one, which an event or a gap had
 * @param {number} [options.quietMs] silence after which the server is asked for a sign of life
 * @returns {{close(): void}}
 */
export function subscribe(url, topic, options) {
  const books = new Books(topic, options);
  const pauses = new Pauses();
  const quietMs = options.quietMs ?? QUIET_MS;
  let socket = null;
  let timer = null;
  let isOver = false;

  const stop = (code, text) => {
    if (isOver) return;
    close();
    options.onStop?.({ code, text });
  };
  const close = () => {
    isOver = true;
    clearTimeout(timer);
    socket?.close();
  };
  const connect = () => {
    let isBroken = false;
    let isOpen = false;
    let quiet = null;
    const { socket: mine, end } = open(url, options.key, (code, reason) => {
      clearTimeout(quiet);
      isBroken = true;
      if (isOpen) options.onConnection?.(false);
      if (isOver) return;
      if (mustStop(code)) return stop(code, reason);
      timer = setTimeout(connect, pauses.next());
    });
    socket = mine;
    // A page cannot send the pings of WebSocket, and a path that is dead says nothing.
    const listen = () => {
      clearTimeout(quiet);
      quiet = setTimeout(() => {
        mine.send(JSON.stringify({ type: "ping" }));
        quiet = setTimeout(() => {
          mine.close();
          end(1006, "no sign of life");
        }, quietMs);
      }, quietMs);
    };
    mine.onopen = () => {
      mine.send(JSON.stringify(books.request()));
      listen();
    };
    mine.onmessage = ({ data }) => {
      // What came before the end is still handed over by the browser afterwards.
      if (isOver || isBroken) return;
      listen();
      const { event, gap, end, isPassing } = books.enter(JSON.parse(data));
      if (end) return stop(end.code, end.text);
      if (isPassing) {
        isBroken = true;
        clearTimeout(quiet);
        return mine.close();
      }
      pauses.reset();
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
 * The connection broke before the ack: the message may have been taken or not. Sent again with the same id, a copy can
 * be recognised by those who receive it.
 */
export class Unacknowledged extends Error {
  constructor(id, code) {
    super(`no ack for message ${id}: connection closed with ${code}`);
    this.id = id;
    this.code = code;
  }
}

/** The message was not sent: there was no connection in time, or there will be none. */
export class NotSent extends Error {
  constructor(id, why) {
    super(`message ${id} was not sent: ${why}`);
    this.id = id;
  }
}

/** Publishes over one connection, which is opened when it is needed and again after it was lost. */
export class Publisher {
  #url;
  #key;
  #timeoutMs;
  /** Resolves to the socket once it is open, or to `null`; itself `null` when there is none. */
  #opening = null;
  #socket = null;
  #waiting = new Map();
  #number = 0;
  #pauses = new Pauses();
  #notBefore = 0;
  /** The call before: messages go out in the order of the calls, also when they wait for a connection. */
  #turn = Promise.resolve();
  /** Why nothing is sent any more. */
  #end = null;

  constructor(url, { key, timeoutMs = PUBLISH_TIMEOUT_MS } = {}) {
    this.#url = url;
    this.#key = key;
    this.#timeoutMs = timeoutMs;
  }

  /** Resolves to the number that the topic gave to the message; rejects with `Refused`, `Unacknowledged` or `NotSent`. */
  async publish(topic, payload, id = newId()) {
    const until = Date.now() + this.#timeoutMs;
    const turn = this.#turn.then(() => this.#connected(id, until));
    this.#turn = turn.catch(() => {});
    const socket = await turn;
    const request_id = String((this.#number += 1));
    const text = JSON.stringify({ type: "publish", topic, message: { id, payload }, request_id });
    return new Promise((resolve, reject) => {
      this.#waiting.set(request_id, { socket, id, resolve, reject });
      socket.send(text);
    });
  }

  /** For good: what waits is rejected, and nothing is sent any more. */
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
      const socket = await soonest(this.#opening, until);
      if (this.#end) throw new NotSent(id, this.#end);
      if (socket) return socket;
      if (Date.now() >= until) throw new NotSent(id, "there was no connection in time");
    }
  }

  #open() {
    let opened;
    const opening = new Promise((resolve) => (opened = resolve));
    const { socket } = open(this.#url, this.#key, (code, reason) => {
      opened(null);
      if (this.#opening === opening) this.#opening = null;
      this.#notBefore = Date.now() + this.#pauses.next();
      if (code >= 4000 && code <= 4099) this.#end ??= `${code} ${reason}`;
      for (const [request_id, { socket: used, id, reject }] of this.#waiting) {
        if (used !== socket) continue;
        this.#waiting.delete(request_id);
        reject(new Unacknowledged(id, code));
      }
    });
    this.#socket = socket;
    socket.onopen = () => opened(socket);
    socket.onmessage = ({ data }) => {
      this.#pauses.reset();
      const frame = JSON.parse(data);
      const waiting = this.#waiting.get(frame.request_id);
      if (!waiting) return;
      this.#waiting.delete(frame.request_id);
      if (frame.type === "error") waiting.reject(new Refused(frame.error));
      else waiting.resolve(frame.seq);
    };
    return opening;
  }
}

/** What a subscription has had, and so where it goes on. Knows no socket. */
class Books {
  #topic;
  #clientId;
  #lastN;
  #position;
  // Of the last ack. It is ours only once the gap is told: a connection lost between the two changes nothing.
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

  enter(frame) {
    // A gap comes as an info or as an error, by its reason.
    if (frame.gap) return this.#enterGap(frame.gap);
    switch (frame.type) {
      case "event":
        return this.#enterEvent(frame);
      case "ack":
        return this.#begin(frame);
      case "error":
        return this.#fail(frame.error);
      case "info": {
        const isEnd = frame.msg === "topic_deleted" || frame.msg === "subscription_replaced";
        return isEnd ? { end: { code: frame.msg, text: `the subscription to ${this.#topic} has ended` } } : {};
      }
      default:
        return {};
    }
  }

  #begin({ seq, epoch }) {
    this.#ackedEpoch = epoch;
    if (!this.#position) {
      this.#openStart = this.#lastN > 0;
      this.#position = { seq: Math.max(seq - this.#lastN, 0), epoch };
    }
    return {};
  }

  #enterEvent({ seq, message, ts }) {
    const last = this.#position.seq;
    if (seq !== last + 1 && !(this.#openStart && seq > last)) {
      return { end: { code: "hole", text: `event ${seq} came after ${last}` } };
    }
    return { event: { seq, id: message.id, payload: message.payload, ts, position: this.#goTo(seq) } };
  }

  #enterGap(gap) {
    if (gap.reason === "epoch_changed") {
      this.#position = { seq: 0, epoch: this.#ackedEpoch };
      this.#openStart = true;
      return { gap: { ...gap, position: this.#position } };
    }
    const last = this.#position.seq;
    if (gap.from_seq !== last + 1 && !this.#openStart) {
      return { end: { code: "hole", text: `a gap from ${gap.from_seq} came after ${last}` } };
    }
    return { gap: { ...gap, position: this.#goTo(gap.to_seq) } };
  }

  #goTo(seq) {
    this.#openStart = false;
    return (this.#position = { seq, epoch: this.#position.epoch });
  }

  #fail({ code, message }) {
    // A server that was restarted has no topics until someone creates them again.
    const isForgotten = code === "TOPIC_NOT_FOUND" && this.#ackedEpoch !== null;
    if (isForgotten || PASSING_ERRORS.includes(code)) return { isPassing: true };
    if (BEFORE_A_CLOSE.includes(code)) return {};
    return { end: { code, text: message } };
  }
}

/** Pauses between attempts: twice as long each time, with a random part, so that clients do not come back at once. */
class Pauses {
  #next = FIRST_PAUSE_MS;

  reset() {
    this.#next = FIRST_PAUSE_MS;
  }

  next() {
    const pause = this.#next * (0.5 + Math.random() / 2);
    this.#next = Math.min(this.#next * 2, LONGEST_PAUSE_MS);
    return pause;
  }
}

// Opens a socket. `ended` is called once, with code and reason; `end` calls it before the socket itself has noticed.
// An attempt that fails tells only of an error in some places (node 22), of an error and its end in others.
function open(url, key, ended) {
  const socket = key ? new WebSocket(url, ["threadcast.v1", subprotocol(key)]) : new WebSocket(url);
  let isOpen = false;
  let isOver = false;
  const end = (code, reason) => {
    if (isOver) return;
    isOver = true;
    ended(code, reason);
  };
  socket.addEventListener("open", () => (isOpen = true));
  socket.addEventListener("error", () => isOpen || end(1006, ""));
  socket.addEventListener("close", ({ code, reason }) => end(code, reason));
  return { socket, end };
}

// A browser sets no headers on a WebSocket, so a key travels as a subprotocol.
function subprotocol(key) {
  const base64url = btoa(key).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return `bearer.${base64url}`;
}

// A refused handshake shows as 1006 in a browser, whatever the status was: it is tried again.
function mustStop(code) {
  return (code >= 4000 && code <= 4099) || WRONG_CLIENT_CODES.includes(code);
}

function sleep(millis) {
  return millis > 0 ? new Promise((resolve) => setTimeout(resolve, millis)) : undefined;
}

// What a promise resolves to, or `null` when the time is over before.
function soonest(promise, until) {
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, Math.max(until - Date.now(), 0), null)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// `crypto.randomUUID` exists only on pages that came over TLS or from the machine itself.
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
