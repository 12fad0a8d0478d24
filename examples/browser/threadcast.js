// A client of threadcast for browsers, and for node from 22 on: subscribing with resume, publishing with ack.
// An ES module without dependencies: copy it next to your page.

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;

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
 * @returns {{close(): void}}
 */
export function subscribe(url, topic, options) {
  const books = new Books(topic, options);
  const pauses = new Pauses();
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
    const mine = (socket = open(url, options.key));
    let isBroken = false;
    let isOpen = false;
    mine.onopen = () => mine.send(JSON.stringify(books.request()));
    mine.onmessage = ({ data }) => {
      // What came before the end is still handed over by the browser afterwards.
      if (isOver || isBroken) return;
      const { event, gap, end, isPassing } = books.enter(JSON.parse(data));
      if (end) return stop(end.code, end.text);
      if (isPassing) {
        isBroken = true;
        return mine.close();
      }
      pauses.reset();
      if (!isOpen) options.onConnection?.((isOpen = true));
      if (event) options.onEvent(event);
      if (gap) options.onGap(gap);
    };
    mine.onclose = ({ code, reason }) => {
      if (isOpen) options.onConnection?.(false);
      if (isOver) return;
      if (mustStop(code)) return stop(code, reason);
      timer = setTimeout(connect, pauses.next());
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

/** Publishes over one connection, which is opened when it is needed and again after it was lost. */
export class Publisher {
  #url;
  #key;
  #socket = null;
  #waiting = new Map();
  #number = 0;
  #pauses = new Pauses();
  #notBefore = 0;

  constructor(url, { key } = {}) {
    this.#url = url;
    this.#key = key;
  }

  /** Resolves to the number that the topic gave to the message; rejects with `Refused` or `Unacknowledged`. */
  async publish(topic, payload, id = newId()) {
    await sleep(this.#notBefore - Date.now());
    const socket = this.#connected();
    const request_id = String((this.#number += 1));
    const text = JSON.stringify({ type: "publish", topic, message: { id, payload }, request_id });
    return new Promise((resolve, reject) => {
      this.#waiting.set(request_id, { socket, id, resolve, reject });
      if (socket.readyState === WebSocket.OPEN) socket.send(text);
      else socket.addEventListener("open", () => socket.send(text));
    });
  }

  close() {
    this.#socket?.close();
  }

  #connected() {
    if (this.#socket && this.#socket.readyState <= WebSocket.OPEN) return this.#socket;
    const socket = (this.#socket = open(this.#url, this.#key));
    socket.onmessage = ({ data }) => {
      this.#pauses.reset();
      const frame = JSON.parse(data);
      const waiting = this.#waiting.get(frame.request_id);
      if (!waiting) return;
      this.#waiting.delete(frame.request_id);
      if (frame.type === "error") waiting.reject(new Refused(frame.error));
      else waiting.resolve(frame.seq);
    };
    socket.onclose = ({ code }) => {
      this.#notBefore = Date.now() + this.#pauses.next();
      for (const [request_id, { socket: used, id, reject }] of this.#waiting) {
        if (used !== socket) continue;
        this.#waiting.delete(request_id);
        reject(new Unacknowledged(id, code));
      }
    };
    return socket;
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

// A browser sets no headers on a WebSocket, so a key travels as a subprotocol.
function open(url, key) {
  if (!key) return new WebSocket(url);
  const base64url = btoa(key).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return new WebSocket(url, ["threadcast.v1", `bearer.${base64url}`]);
}

// A refused handshake shows as 1006 in a browser, whatever the status was: it is tried again.
function mustStop(code) {
  return (code >= 4000 && code <= 4099) || WRONG_CLIENT_CODES.includes(code);
}

function sleep(millis) {
  return millis > 0 ? new Promise((resolve) => setTimeout(resolve, millis)) : undefined;
}

// `crypto.randomUUID` exists only on pages that came over TLS or from the machine itself.
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
