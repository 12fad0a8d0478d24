
// The table of topics; creating and deleting them.

const topicTable = new Table(byId("topic-table"), {
  columns: [
    {
      label: "Topic",
      value: (topic) => topic.name,
      fill: (cell, row) => {
        const { name } = row.item;
        cell.append(make("button", { type: "button", className: "link", textContent: name, title: `Tail ${name}`, onclick: () => tail.start(name) }));
      },
    },
    {
      ...numberColumn("Subscribers", (topic) => topic.subscribers, count),
      text: undefined,
      fill: (cell, row) => {
        const { name } = row.item;
        cell.append(make("button", { type: "button", className: "link", title: `Who is subscribed to ${name}`, onclick: () => subscribers.show(name) }));
      },
      decorate: (cell, topic) => setText(cell.firstElementChild, count(topic.subscribers)),
    },
    numberColumn("Rate /s", (topic) => topic.rate, rate),
    numberColumn("Head", (topic) => topic.seq, count),
    numberColumn("History", (topic) => topic.history.count, count),
    numberColumn("Size", (topic) => topic.history.bytes, bytes),
    {
      label: "Oldest",
      value: (topic) => topic.age,
      text: (topic) => (topic.age < 0 ? "–" : duration(topic.age)),
      className: "number",
    },
    { label: "Policy", value: (topic) => topic.overflow, text: (topic) => topic.overflow },
    numberColumn("Dropped", (topic) => topic.dropped, count, { alarm: true }),
    {
      label: "",
      className: "actions",
      fill: (cell, row) => {
        const { name } = row.item;
        cell.append(make("button", { type: "button", className: "quiet small away", textContent: "Delete", "aria-label": `Delete ${name}`, onclick: () => deleteTopic(name) }));
      },
    },
  ],
  keyOf: (topic) => topic.name,
  matches: (topic, needle) => topic.name.toLowerCase().includes(needle),
  sortBy: "Topic",
  filter: byId("topic-filter"),
  order: byId("topic-order"),
  note: byId("topic-note"),
  decorate: (row, topic) => row.classList.toggle("chosen", topic.name === tail.topic),
});

function showTopics(topics, rates) {
  const now = Date.now();
  const age = ({ history }) => (history.first_ts ? Math.max(0, (now - Date.parse(history.first_ts)) / 1000) : -1);
  const rows = Object.entries(topics).map(([name, topic]) => ({
    name,
    ...topic,
    rate: rates.get(name) ?? 0,
    age: age(topic),
  }));
  topicTable.show(rows);
}

async function deleteTopic(name) {
  const question = `Delete the topic “${name}” and its history? Its subscribers are notified, and their subscriptions end.`;
  if (!(await confirmed(question, "Delete"))) return;
  try {
    await request("DELETE", topicPath(name));
    showResult(byId("create-result"), `Deleted ${name}`);
  } catch (error) {
    showResult(byId("create-result"), error.message, true);
  }
  poller.now();
}

byId("create").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = byId("create-name").value.trim();
  const options = { name };
  if (byId("create-overflow").value) options.overflow = byId("create-overflow").value;
  if (byId("create-history").value) options.history_size = Number(byId("create-history").value);
  if (byId("create-queue").value) options.max_queue_size = Number(byId("create-queue").value);
  try {
    await request("POST", "topics", JSON.stringify(options));
    showResult(byId("create-result"), `Created ${name}`);
    byId("create-name").value = "";
  } catch (error) {
    showResult(byId("create-result"), error.message, true);
  }
  poller.now();
});
