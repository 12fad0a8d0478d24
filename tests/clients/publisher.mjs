// Publishes through the JavaScript client each `[topic, payload]` of standard input and prints how it went, one JSON text
// per line. Arguments: a URL and JSON options.
import { createInterface } from "node:readline";
import { Publisher, Refused, Unacknowledged } from "../../examples/browser/threadcast.js";

const [url, json] = process.argv.slice(2);
const publisher = new Publisher(url, JSON.parse(json));

for await (const line of createInterface({ input: process.stdin })) {
  let told;
  try {
    told = { seq: await publisher.publish(...JSON.parse(line)) };
  } catch (error) {
    if (error instanceof Refused) told = { refused: error.code };
    else if (error instanceof Unacknowledged) told = { unacknowledged: error.id };
    else throw error;
  }
  console.log(JSON.stringify(told));
}
publisher.close();
