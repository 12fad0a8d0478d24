// Prints the entries of `subscribe` of the JavaScript client, one JSON text per line. Arguments: a URL and JSON options.
import { subscribe } from "../../examples/browser/threadcast.js";

const [url, json] = process.argv.slice(2);
const { topic, client_id: clientId, last_n: lastN, quiet_ms: quietMs, ...rest } = JSON.parse(json);
const print = (line) => console.log(JSON.stringify(line));

subscribe(url, topic, {
  clientId,
  lastN,
  quietMs,
  ...rest,
  onEvent: ({ seq, id, payload, position }) => print({ position, event: seq, id, payload }),
  onGap: ({ reason, from_seq = null, to_seq = null, position }) =>
    print({ position, gap: { reason, from_seq, to_seq } }),
  onStop: ({ code }) => print({ stop: code }),
});
