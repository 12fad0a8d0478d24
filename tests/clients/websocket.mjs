// Provides the browser WebSocket for Node.js before 22.
import { createRequire } from "node:module";

if (!globalThis.WebSocket) {
  const require = createRequire(`${process.env.NODE_MODULES}/`);
  globalThis.WebSocket = require("ws");
}
globalThis.crypto ??= (await import("node:crypto")).webcrypto;
