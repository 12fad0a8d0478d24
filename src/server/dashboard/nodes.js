
// The nodes of the cluster, and whether this one can use Redis. Both are hidden if the server is no node of a cluster.

const isNode = ({ engine }) => engine === "up" || engine === "down";

const nodeTable = new Table(byId("node-table"), {
  columns: [
    { label: "Node", value: (node) => node.id, text: (node) => visible(node.id), className: "code" },
    { label: "Address", value: (node) => node.address, text: (node) => visible(node.address), className: "wrap address" },
    { label: "Version", value: (node) => node.version, text: (node) => visible(node.version) },
    numberColumn("Up", (node) => node.uptime_sec, duration),
    numberColumn("Connections", (node) => node.connections, count),
    numberColumn("Subscriptions", (node) => node.subscriptions, count),
    {
      label: "Redis",
      value: (node) => node.engine.state,
      fill: (cell) => cell.append(make("span", { className: "badge" })),
      decorate: (cell, { engine }) => {
        const badge = cell.firstElementChild;
        badge.dataset.state = engine.state;
        setText(badge, visible(engine.state));
      },
    },
    numberColumn("Latency", (node) => node.engine.latency_ms, (millis) => `${millis.toFixed(2)} ms`),
  ],
  keyOf: (node) => node.id,
  matches: () => true,
  sortBy: "Node",
  order: byId("node-order"),
  note: byId("node-note"),
});

function showNodes(nodes) {
  byId("nodes").hidden = false;
  nodeTable.show(nodes);
}

function hideNodes() {
  byId("nodes").hidden = true;
  nodeTable.show([]);
}

/** The mark that Redis is away, or is not set up as it should be. */
function showEngine({ engine, engine_error: error }) {
  const notice = byId("engine");
  const isDown = engine === "down";
  notice.hidden = !isDown && !error;
  notice.dataset.state = isDown ? "bad" : "warn";
  const why = error ? ` (${visible(error)})` : "";
  const down = `Redis cannot be used${why}: nothing can be published or subscribed to until it is back. The figures are the last known.`;
  setText(notice, isDown ? down : `Redis is not as it should be${why}.`);
}
