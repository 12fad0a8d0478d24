
// The rhythm of the page: one look after the other, slower when looking takes long, backing off when it fails.

const PAUSE_MS = 1500;
/** Looking may take this share of the time, one in so many. */
const LOOK_SHARE = 4;
const LONGEST_PAUSE_MS = 15_000;

function setStatus(state, text) {
  byId("status").dataset.state = state;
  document.body.dataset.state = state;
  setText(byId("status"), text);
}

function askForKey(problem) {
  const isLocked = document.body.dataset.state === "locked";
  setText(byId("key-title"), isLocked ? "This server asks for a key" : "Another key");
  setText(byId("key-told"), problem);
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
      const pause = await this.look().then(
        () => this.succeeded(performance.now() - began),
        (failure) => this.failed(failure),
      );
      await this.rest(pause);
    }
  },

  /** One request at a time. */
  async look() {
    const health = await request("GET", "health");
    // It was started anew, perhaps with other settings.
    if (health.instance !== this.instance) this.settingsShown = false;
    this.instance = health.instance;
    const { topics } = await request("GET", "stats");
    showTopics(topics, this.overview.look(health, topics));
    showConnections(await request("GET", `connections?limit=${LISTED_CONNECTIONS}`));
    if (!this.settingsShown) showSettings(await request("GET", "config"));
    this.settingsShown = true;
  },

  succeeded(tookMs) {
    this.failures = 0;
    byId("limited").hidden = true;
    setStatus("live", "live");
    return Math.min(Math.max(PAUSE_MS, tookMs * LOOK_SHARE), LONGEST_PAUSE_MS);
  },

  /** Returns how long to wait; for a key as long as it takes. */
  failed(failure) {
    if (!(failure instanceof Failure)) {
      setStatus("disconnected", "this page failed: reload it");
      throw failure;
    }
    byId("limited").hidden = failure.status !== 403;
    // The server may come back as another one.
    this.settingsShown = false;
    if (failure.status === 401 || failure.status === 403) this.forget();
    if (failure.status === 401) {
      setStatus("locked", "needs a key");
      askForKey(key ? "The server does not take this key." : "");
      return Infinity;
    }
    if (failure.status === 403) {
      setStatus("limited", "limited by the key");
      return LONGEST_PAUSE_MS;
    }
    this.failures += 1;
    const pause = backOff(this.failures, LONGEST_PAUSE_MS);
    setStatus("disconnected", failure.status === 0 ? "disconnected, trying again" : failure.message);
    return pause;
  },

  /** What another key, or none, would not be shown. */
  forget() {
    this.overview.forget();
    topicTable.show([], "Not shown without a key that may see it.");
    connectionTable.show([], "Not shown without a key that may see it.");
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
  for (const output of document.querySelectorAll("output.told")) setText(output, "");
  setStatus("waiting", "Connecting…");
  tail.reconnect();
  poller.now();
});

poller.run();
