
// Polls the server: more slowly if requests take long, with backoff after errors.

const PAUSE_MS = 1500;
/** A pause is at least this many times as long as the requests before it. */
const PAUSE_PER_REQUEST = 4;
const LONGEST_PAUSE_MS = 15_000;

function setStatus(state, text) {
  byId("status").dataset.state = state;
  document.body.dataset.state = state;
  setText(byId("status"), text);
}

function askForKey(problem) {
  const isLocked = document.body.dataset.state === "locked";
  setText(byId("key-title"), isLocked ? "This server requires a key" : "Another key");
  setText(byId("key-error"), problem);
  const dialog = byId("key-dialog");
  if (!dialog.open) dialog.showModal();
  byId("key").focus();
}

const poller = {
  overview: new Overview(),
  failures: 0,
  settingsShown: false,
  instance: null,
  /** Ends the pause. */
  wake: () => {},

  async run() {
    for (;;) {
      const began = performance.now();
      const pause = await this.poll().then(
        () => this.succeeded(performance.now() - began),
        (error) => this.failed(error),
      );
      if (pause !== Infinity) await subscribers.refresh();
      await this.rest(pause);
    }
  },

  /** Sends one request at a time. */
  async poll() {
    const health = await request("GET", "health");
    // Restarted, perhaps with other settings.
    if (health.instance !== this.instance) this.settingsShown = false;
    this.instance = health.instance;
    showEngine(health);
    // A node whose Redis is away still lists its connections.
    showConnections(await request("GET", `connections?limit=${LISTED_CONNECTIONS}`));
    const { topics } = await request("GET", "stats");
    showTopics(topics, this.overview.add(health, topics));
    if (isNode(health)) showNodes((await request("GET", "nodes")).nodes);
    else hideNodes();
    if (!this.settingsShown) showSettings(await request("GET", "config"));
    this.settingsShown = true;
  },

  succeeded(tookMs) {
    this.failures = 0;
    byId("limited").hidden = true;
    setStatus("live", "live");
    return Math.min(Math.max(PAUSE_MS, tookMs * PAUSE_PER_REQUEST), LONGEST_PAUSE_MS);
  },

  /** Returns how long to wait; without limit if a key is needed. */
  failed(error) {
    if (!(error instanceof RequestError)) {
      setStatus("disconnected", "error in this page: reload it");
      throw error;
    }
    byId("limited").hidden = error.status !== 403;
    // The server may be restarted with other settings.
    this.settingsShown = false;
    if (error.status === 401 || error.status === 403) this.forget();
    if (error.status === 401) {
      subscribers.hide();
      setStatus("locked", "needs a key");
      askForKey(key ? "The server does not accept this key." : "");
      return Infinity;
    }
    if (error.status === 403) {
      setStatus("limited", "limited by the key");
      return LONGEST_PAUSE_MS;
    }
    this.failures += 1;
    const pause = backoff(this.failures, LONGEST_PAUSE_MS);
    setStatus("disconnected", error.status === 0 ? "disconnected, reconnecting" : error.message);
    return pause;
  },

  /** Removes data that another key may not show. */
  forget() {
    this.overview.forget();
    topicTable.show([], "Not shown without a key with that right.");
    connectionTable.show([], "Not shown without a key with that right.");
    hideNodes();
    byId("engine").hidden = true;
    byId("settings-table").replaceChildren();
    setText(byId("settings-note"), "");
  },

  rest(pauseMs) {
    return new Promise((resolve) => {
      const timer = pauseMs === Infinity ? undefined : setTimeout(resolve, pauseMs);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  },

  now() {
    this.wake();
  },
};

byId("key-open").addEventListener("click", () => askForKey(""));
byId("key-cancel").addEventListener("click", () => byId("key-dialog").close());
byId("key-form").addEventListener("submit", () => {
  key = byId("key").value.trim();
  byId("key").value = "";
  poller.forget();
  subscribers.hide();
  for (const output of document.querySelectorAll("output.result")) setText(output, "");
  setStatus("waiting", "Connecting…");
  tail.reconnect();
  poller.now();
});

poller.run();
