// Gives node before 22 the WebSocket that browsers have.
import { createRequire } from "node:module";

if (!globalThis.WebSocket) {
  const require = createRequire(`${process.env.NODE_MODULES}/`);
  globalThis.WebSocket = class extends require("ws") {
    constructor(...args) {
      super(...args);
      // In a browser an error that nobody listens to is none; in node it ends the process.
      this.on("error", () => {});
    }
  };
}
globalThis.crypto ??= (await import("node:crypto")).webcrypto;
