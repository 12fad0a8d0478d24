
// Who is connected, and closing a connection.

/** As many are asked for; the page says when there are more. */
const LISTED_CONNECTIONS = 500;
const NAMED_CLIENTS = 3;

const sum = (connection, field) => connection.subscriptions.reduce((total, subscription) => total + subscription[field], 0);

function clients({ subscriptions }) {
  const nameOf = ({ client_id }) => (client_id === tail.clientId ? "this page" : client_id);
  const names = [...new Set(subscriptions.map(nameOf))];
  const more = names.length - NAMED_CLIENTS;
  return names.slice(0, NAMED_CLIENTS).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

const connectionTable = new Table(byId("connection-table"), {
  columns: [
    { label: "Address", value: (connection) => connection.address, text: (connection) => connection.address },
    { label: "Kind", value: (connection) => connection.protocol, text: (connection) => connection.protocol },
    { label: "Key", value: (connection) => connection.key ?? "", text: (connection) => connection.key ?? "–" },
    {
      label: "Clients",
      value: clients,
      text: (connection) => clients(connection) || "–",
      className: "wrap",
      decorate: (cell, { subscriptions }) => {
        cell.title = subscriptions.slice(0, 50).map(({ topic, client_id }) => `${client_id} ← ${topic}`).join("\n");
      },
    },
    numberColumn("Topics", (connection) => connection.subscriptions.length, count),
    numberColumn("Lag", (connection) => sum(connection, "lag"), count),
    numberColumn("Dropped", (connection) => sum(connection, "dropped"), count, { alarm: true }),
    numberColumn("Pending", (connection) => connection.pending_bytes, bytes),
    numberColumn("Idle", (connection) => connection.idle_sec, duration),
    numberColumn("Up", (connection) => connection.uptime_sec, duration),
    {
      label: "",
      className: "actions",
      fill: (cell, row) => {
        const { id, address } = row.item;
        cell.append(make("button", { type: "button", className: "quiet small away", textContent: "Close", "aria-label": `Close ${address}`, onclick: () => closeConnection(id, address) }));
      },
    },
  ],
  keyOf: (connection) => connection.id,
  matches: ({ address, key, protocol, subscriptions }, sought) =>
    [address, key ?? "", protocol].some((text) => text.toLowerCase().includes(sought)) ||
    subscriptions.some(({ topic, client_id }) => `${topic}\n${client_id}`.toLowerCase().includes(sought)),
  sortBy: "Lag",
  descending: true,
  filter: byId("connection-filter"),
  note: byId("connection-note"),
});

function showConnections({ total, connections }) {
  connectionTable.show(connections);
  if (total > connections.length) {
    setText(byId("connection-note"), `There are ${count(total)}; looked at here are the ${count(connections.length)} oldest.`);
  }
}

async function closeConnection(id, address) {
  const question = `Close the connection of ${address}? A WebSocket client is told with code 4101, and may come back after a pause.`;
  if (!(await confirmed(question, "Close it"))) return;
  try {
    await request("DELETE", `connections/${id}`);
  } catch (failure) {
    if (failure.status !== 404) setText(byId("connection-note"), failure.message);
  }
  poller.now();
}

const SETTING_COLUMNS = ["Setting", "Value", "Default", "From"];

function showSettings({ settings }) {
  const text = (value) => {
    if (value === undefined) return "–";
    if (Array.isArray(value)) return value.join(", ") || "–";
    return String(value);
  };
  const row = ({ name, flag, value, default: byDefault, source }) => {
    const from = make("span", { className: source === "default" ? "badge" : "badge strong", textContent: source });
    const texts = [name, text(value), text(byDefault)];
    const cells = texts.map((content, at) => make("td", { textContent: content, "data-label": SETTING_COLUMNS[at] }));
    cells[0].title = flag;
    return make("tr", {}, ...cells, make("td", { "data-label": SETTING_COLUMNS[3] }, from));
  };
  const head = make("tr", {}, ...SETTING_COLUMNS.map((label) => make("th", { scope: "col", textContent: label })));
  byId("settings-table").replaceChildren(make("thead", {}, head), make("tbody", {}, ...settings.map(row)));
  const chosen = settings.filter(({ source }) => source !== "default").length;
  setText(byId("settings-note"), `${settings.length} settings, ${chosen} not the default`);
}
