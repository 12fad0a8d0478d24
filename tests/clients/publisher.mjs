// Publishes each `[topic, payload]` of standard input with the JavaScript client, or a list of them concurrently. Prints the
// result, one JSON text per line. Arguments: a URL and JSON options.
import { createInterface } from "node:readline";
import { NotSent, Publisher, Refused, Unacknowledged } from "../../examples/browser/threadcast.js";

const [url, json] = process.argv.slice(2);
const { timeout, idempotency_window, ...options } = JSON.parse(json);
if (timeout !== undefined) options.timeoutMs = timeout * 1000;
if (idempotency_window !== undefined) options.idempotencyWindowMs = idempotency_window * 1000;
const publisher = new Publisher(url, options);

async function publish(message) {
  try {
    return { seq: await publisher.publish(...message) };
  } catch (error) {
    if (error instanceof Refused) return { refused: error.code };
    if (error instanceof Unacknowledged) return { unacknowledged: error.id };
    if (error instanceof NotSent) return { not_sent: error.id };
    throw error;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  const result = Array.isArray(asked[0]) ? await Promise.all(asked.map(publish)) : await publish(asked);
  console.log(JSON.stringify(result));
}
publisher.close();
