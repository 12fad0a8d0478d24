import { Publisher, subscribe } from "./threadcast.js";

const url = "ws://localhost:8080/ws";

const publisher = new Publisher(url);
console.log("published as", await publisher.publish("orders", { order_id: "ORD-127" }));

const subscription = subscribe(url, "orders", {
  lastN: 5,
  onEvent: ({ seq, payload }) => console.log(seq, payload),
  onGap: ({ reason, from_seq, to_seq }) => console.warn("missed", reason, from_seq, to_seq),
  onConnection: (isConnected) => console.log(isConnected ? "connected" : "lost; coming back"),
  onStop: ({ code, text }) => console.error("stopped", code, text),
});
