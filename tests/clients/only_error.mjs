// A fake WebSocket as in Node.js 22: its first attempt fires `error` and no `close`. Publisher and subscriber of the JavaScript
// client must retry. Prints their results, and exits.
const sockets = [];

globalThis.WebSocket = class extends EventTarget {
  static OPEN = 1;
  readyState = 0;

  constructor() {
    super();
    sockets.push(this);
    for (const kind of ["open", "message"]) this.addEventListener(kind, (event) => this[`on${kind}`]?.(event));
    const isFirst = sockets.filter((socket) => socket.constructor === this.constructor).length <= 2;
    setTimeout(() => this.dispatchEvent(new Event(isFirst ? "error" : "open")));
  }

  send(text) {
    const { type, request_id } = JSON.parse(text);
    const answer = { type: "ack", request_id, topic: "t", status: "ok", seq: 7, epoch: "e" };
    if (type !== "ping") setTimeout(() => this.dispatchEvent(Object.assign(new Event("message"), { data: JSON.stringify(answer) })));
  }

  close() {
    this.dispatchEvent(Object.assign(new Event("close"), { code: 1000, reason: "" }));
  }
};

const { Publisher, subscribe } = await import("../../examples/browser/threadcast.js");
const publisher = new Publisher("ws://t/ws");
const published = publisher.publish("t", 1);
await new Promise((resolve) => {
  const subscription = subscribe("ws://t/ws", "t", {
    onEvent: () => {},
    onGap: () => {},
    onConnection: (isConnected) => {
      if (!isConnected) return;
      setTimeout(() => subscription.close());
      resolve();
    },
  });
});
console.log(`subscribed, published as ${await published}, ${sockets.length} sockets`);
publisher.close();
