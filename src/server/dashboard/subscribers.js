
// Who is subscribed to one topic: that whose number of subscribers was clicked, or the one in the tail.

const LISTED_SUBSCRIBERS = 100;

const isOwnId = ({ client_id: id }) => id === tail.clientId;

const subscriberTable = new Table(byId("subscriber-table"), {
  columns: [
    {
      label: "Client",
      value: (subscriber) => subscriber.client_id,
      text: (subscriber) => (isOwnId(subscriber) ? undefined : clientName(subscriber.client_id)),
      className: "wrap",
      decorate: (cell, subscriber) => {
        if (isOwnId(subscriber) && !cell.querySelector(".badge")) cell.replaceChildren(make("span", { className: "badge", textContent: "this page" }));
      },
    },
    {
      label: "Since",
      value: (subscriber) => subscriber.since,
      text: ({ since }) => new Date(since).toLocaleString(),
      decorate: (cell, { since }) => {
        cell.title = since;
      },
    },
    numberColumn("For", ({ since }) => Math.max(0, (Date.now() - Date.parse(since)) / 1000), duration),
  ],
  keyOf: (subscriber) => subscriber.client_id,
  matches: () => true,
  sortBy: "Client",
  order: byId("subscriber-order"),
  note: byId("subscriber-note"),
});

const subscribers = {
  topic: null,
  /** Whether the topic is there and may be seen, as far as is known. */
  isListed: false,

  show(topic) {
    [this.topic, this.isListed] = [topic, true];
    setText(byId("subscribers-title"), `Subscribers of ${visible(topic)}`);
    subscriberTable.show([], "…");
    byId("subscribers").hidden = false;
    byId("subscribers").scrollIntoView({ block: "nearest" });
    this.refresh();
  },

  hide() {
    this.topic = null;
    byId("subscribers").hidden = true;
    subscriberTable.show([]);
  },

  /** Does not fail: what goes wrong stands under the table. */
  async refresh() {
    const { topic } = this;
    if (topic === null || !this.isListed) return;
    try {
      const { total, subscribers: listed } = await request("GET", `${topicPath(topic)}/subscribers?limit=${LISTED_SUBSCRIBERS}`);
      if (topic === this.topic) this.list(total, listed);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      if (topic === this.topic) this.refused(error);
    }
  },

  list(total, listed) {
    const more = total - listed.length;
    subscriberTable.show(listed, more > 0 ? `… and ${count(more)} more` : "");
  },

  /** While the server or Redis is away, the last known are shown. */
  refused({ status, message }) {
    const isAway = status === 0 || status === 503;
    this.isListed = isAway;
    if (isAway) setText(byId("subscriber-note"), message);
    else subscriberTable.show([], message);
  },
};

byId("subscribers-close").addEventListener("click", () => subscribers.hide());
byId("tail-subscribers").addEventListener("click", () => {
  const topic = byId("tail-topic").value.trim();
  if (topic) subscribers.show(topic);
});
