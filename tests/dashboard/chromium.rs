//! A headless Chromium of its own for each test, driven over the DevTools protocol.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// Long enough for a browser to start on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);
const GREETING: &str = "DevTools listening on ";

static BROWSERS: AtomicU32 = AtomicU32::new(0);

/// Disables background requests of the browser, and name lookups other than loopback.
const FLAGS: [&str; 14] = [
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

/// The process and the socket to it. Dropping it ends both.
pub(crate) struct Chromium {
    child: Child,
    profile: PathBuf,
    socket: WebSocket<TcpStream>,
    last_id: u64,
    session: Option<String>,
    /// Events of the browser, oldest first.
    events: VecDeque<Value>,
}

impl Chromium {
    /// Starts a browser and opens an empty page in it.
    pub(crate) fn start() -> Chromium {
        let number = BROWSERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("threadcast-dashboard-{}-{number}", std::process::id());
        let profile = std::env::temp_dir().join(name);
        let mut child = command(&profile).spawn().expect("Chromium starts");
        let url = devtools_url(&mut child);
        let address = url.trim_start_matches("ws://").split('/').next();
        let stream = TcpStream::connect(address.expect("an address")).expect("DevTools listens");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a deadline");
        let (socket, _) = tungstenite::client(url.as_str(), stream).expect("DevTools answers");
        let mut chromium = Chromium {
            child,
            profile,
            socket,
            last_id: 0,
            session: None,
            events: VecDeque::new(),
        };
        chromium.open_page();
        chromium
    }

    fn open_page(&mut self) {
        let target = self.call("Target.createTarget", &json!({"url": "about:blank"}));
        let target = &target["targetId"];
        let attached = self.call(
            "Target.attachToTarget",
            &json!({"targetId": target, "flatten": true}),
        );
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            self.call(&format!("{domain}.enable"), &json!({}));
        }
    }

    /// Sends a command and waits for its result.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Value {
        self.last_id += 1;
        let mut command = json!({"id": self.last_id, "method": method, "params": params});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let text = command.to_string();
        self.socket.send(Message::text(text)).expect("DevTools");
        loop {
            let message = self.read();
            if message["id"] == self.last_id {
                assert_eq!(message.get("error"), None, "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push_back(message);
        }
    }

    /// The events so far with one of these names.
    pub(crate) fn events(&self, methods: &[&str]) -> Vec<Value> {
        let is_asked = |event: &&Value| methods.iter().any(|method| event["method"] == **method);
        let events = self.events.iter().filter(is_asked);
        events.map(|event| event["params"].clone()).collect()
    }

    pub(crate) fn forget(&mut self) {
        self.events.clear();
    }

    fn read(&mut self) -> Value {
        loop {
            match self.socket.read().expect("DevTools answers in time") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Close(_) => panic!("the browser has closed the connection"),
                _ => continue,
            }
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
        // Browser processes may still write there for a moment.
        let _left = fs::remove_dir_all(&self.profile);
    }
}

fn command(profile: &Path) -> Command {
    let program = std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
    let mut command = Command::new(program);
    command
        .args(FLAGS)
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg("about:blank")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if nix::unistd::geteuid().is_root() {
        // Chromium has no sandbox for root.
        command.arg("--no-sandbox");
    }
    command
}

/// The DevTools address that the browser prints. A thread reads the rest of its output.
fn devtools_url(child: &mut Child) -> String {
    let output = child.stderr.take().expect("the output is piped");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let lines = output.by_ref().lines().map_while(Result::ok);
        let urls = lines.filter_map(|line| line.strip_prefix(GREETING).map(str::to_owned));
        urls.for_each(|url| drop(sender.send(url)));
    });
    receiver.recv_timeout(TIMEOUT).expect("Chromium listens")
}
