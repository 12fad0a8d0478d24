// Prints the entries of `subscribe` of the JavaScript client, with the option `pattern` of `subscribePattern`, one JSON text per line. Arguments: a URL and JSON options.
import { Subscribers, subscribe, subscribePattern } from "../../examples/browser/threadcast.js";

const [url, json] = process.argv.slice(2);
const {
  topic,
  pattern,
  client_id: clientId,
  last_n: lastN,
  quiet_ms: quietMs,
  wait_for_topic: waitForTopic,
  presence,
  ...rest
} = JSON.parse(json);
const print = (line) => console.log(JSON.stringify(line));

const audiences = {};
const onPresence = (entry) => {
  const audience = (audiences[entry.topic] ??= new Subscribers());
  audience.apply(entry);
  const { topic, position, subscribers } = entry;
  print({ topic, position, presence: [...audience.names].sort(), total: audience.total, is_list: Boolean(subscribers) });
};

const follow = pattern ? subscribePattern : subscribe;

follow(url, pattern ?? topic, {
  clientId,
  lastN,
  quietMs,
  waitForTopic,
  ...rest,
  onPresence: presence ? onPresence : undefined,
  onEvent: ({ topic, seq, id, payload, position }) => print({ topic, position, event: seq, id, payload }),
  onGap: ({ topic, reason, from_seq = null, to_seq = null, position }) =>
    print({ topic, position, gap: { reason, from_seq, to_seq } }),
  onTopic: ({ change, topic = null, position = null, count = 1 }) => print({ topic, position, change, count }),
  onStop: ({ code }) => print({ stop: code }),
});
