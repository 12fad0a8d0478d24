
// The table of connections, and the settings.

/** How many connections are requested; the page shows if there are more. */
const LISTED_CONNECTIONS = 5000;
const NAMED = 3;

const sum = (connection, field) => connection.subscriptions.reduce((total, subscription) => total + subscription[field], 0);
const distinct = ({ subscriptions }, field) => [...new Set(subscriptions.map((subscription) => subscription[field]))];

/** A client id that cannot imitate another: quoted if it is empty or has spaces at its ends. */
const clientName = (id) => (id.trim() === id && id !== "" ? visible(id) : `“${visible(id)}”`);
const clients = (connection) => some(distinct(connection, "client_id").map(clientName), NAMED);
const isThisPage = ({ subscriptions }) => subscriptions.some(({ client_id }) => client_id === tail.clientId);

function decorateClients(cell, connection) {
  cell.title = connection.subscriptions.slice(0, 50).map(({ topic, client_id }) => `${clientName(client_id)} ← ${topic}`).join("\n");
  if (isThisPage(connection) && !cell.querySelector(".badge")) cell.replaceChildren(make("span", { className: "badge", textContent: "this page" }));
}

const connectionTable = new Table(byId("connection-table"), {
  columns: [
    { label: "Address", value: (connection) => connection.address, text: (connection) => connection.address, className: "wrap address" },
    { label: "Kind", value: (connection) => connection.protocol, text: (connection) => connection.protocol },
    { label: "Key", value: (connection) => connection.key ?? "", text: (connection) => connection.key ?? "–", className: "wrap short" },
    {
      label: "Clients",
      value: clients,
      text: (connection) => (isThisPage(connection) ? undefined : clients(connection) || "–"),
      className: "wrap",
      decorate: decorateClients,
    },
    {
      label: "Topics",
      value: (connection) => connection.subscriptions.length,
      text: (connection) => some(distinct(connection, "topic"), NAMED) || "–",
      className: "wrap",
    },
    numberColumn("Lag", (connection) => sum(connection, "lag"), count),
    numberColumn("Dropped", (connection) => sum(connection, "dropped"), count, { alarm: true }),
    numberColumn("Pending", (connection) => connection.pending_bytes, bytes),
    numberColumn("Idle", (connection) => connection.idle_sec, duration),
    numberColumn("Up", (connection) => connection.uptime_sec, duration),
    {
      label: "",
      className: "actions",
      fill: (cell, row) => {
        const { address } = row.item;
        cell.append(make("button", { type: "button", className: "quiet small away", textContent: "Close", "aria-label": `Close ${address}`, onclick: () => closeConnection(row.item) }));
      },
    },
  ],
  keyOf: (connection) => connection.id,
  matches: ({ address, key, protocol, subscriptions }, needle) =>
    [address, key ?? "", protocol].some((text) => text.toLowerCase().includes(needle)) ||
    subscriptions.some(({ topic, client_id }) => `${topic}\n${client_id}`.toLowerCase().includes(needle)),
  sortBy: "Lag",
  descending: true,
  filter: byId("connection-filter"),
  order: byId("connection-order"),
  note: byId("connection-note"),
});

function showConnections({ total, connections }) {
  const about = total > connections.length ? `${count(total)} connections; only the ${count(connections.length)} oldest are listed.` : "";
  connectionTable.show(connections, about);
}

async function closeConnection(connection) {
  const who = clients(connection) ? `${connection.address} (${clients(connection)})` : connection.address;
  const question = `Close the connection of ${who}? A WebSocket client gets close code 4101 and may reconnect.`;
  if (!(await confirmed(question, "Close it"))) return;
  const output = byId("connection-result");
  try {
    await request("DELETE", `connections/${connection.id}`);
    showResult(output, `Closed ${connection.address}`);
  } catch (error) {
    showResult(output, error.message, true);
  }
  poller.now();
}

const SETTING_COLUMNS = ["Setting", "Value", "Default", "From"];

function showSettings({ settings }) {
  const text = (value, name) => {
    if (value === undefined) return "–";
    if (name.endsWith("_BYTES")) return bytes(value);
    if (Array.isArray(value)) return value.join(", ") || "–";
    return String(value);
  };
  const row = ({ name, flag, value, default: byDefault, source }) => {
    const from = make("span", { className: source === "default" ? "badge" : "badge strong", textContent: source });
    const texts = [name, text(value, name), text(byDefault, name)];
    const cells = texts.map((content, at) => make("td", { textContent: content, "data-label": SETTING_COLUMNS[at] }));
    cells[0].title = flag;
    return make("tr", {}, ...cells, make("td", { "data-label": SETTING_COLUMNS[3] }, from));
  };
  const head = make("tr", {}, ...SETTING_COLUMNS.map((label) => make("th", { scope: "col", textContent: label })));
  byId("settings-table").replaceChildren(make("thead", {}, head), make("tbody", {}, ...settings.map(row)));
  const changed = settings.filter(({ source }) => source !== "default").length;
  setText(byId("settings-note"), `${settings.length} settings, ${changed} not at their default`);
}
