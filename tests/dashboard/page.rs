//! Drives the dashboard in a browser: reads the page, clicks, types.

use std::net::SocketAddr;

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::harness::{TestServer, eventually};

/// The size of a desktop window.
const DESK: (u32, u32) = (1440, 1000);

pub(crate) struct Page {
    chromium: Chromium,
    addr: SocketAddr,
}

impl Page {
    /// Opens the dashboard of a server and waits until it has data.
    pub(crate) fn of(server: &TestServer) -> Page {
        Page::at(server.addr())
    }

    /// As `of`, for a server at this address.
    pub(crate) fn at(addr: SocketAddr) -> Page {
        let mut page = Page::unopened_at(addr);
        page.open();
        page.await_text("#status", "live");
        page
    }

    /// A browser before it opens the dashboard.
    pub(crate) fn unopened(server: &TestServer) -> Page {
        Page::unopened_at(server.addr())
    }

    fn unopened_at(addr: SocketAddr) -> Page {
        let mut page = Page {
            chromium: Chromium::start(),
            addr,
        };
        page.resize(DESK.0, DESK.1);
        page
    }

    pub(crate) fn open(&mut self) {
        self.open_path("/");
    }

    /// Replaces the page by this one, which then has its origin.
    pub(crate) fn write(&mut self, html: &str) {
        let html = json!(html);
        self.eval(&format!(
            "document.open(), document.write({html}), document.close()"
        ));
    }

    pub(crate) fn open_path(&mut self, path: &str) {
        let url = format!("http://{}{path}", self.addr);
        let went = self.chromium.call("Page.navigate", &json!({"url": url}));
        assert_eq!(went.get("errorText"), None, "{went}");
    }

    /// Runs a script in every page before the scripts of the page.
    pub(crate) fn run_first(&mut self, script: &str) {
        let source = json!({"source": script});
        self.chromium
            .call("Page.addScriptToEvaluateOnNewDocument", &source);
    }

    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.chromium
            .call("Emulation.setDeviceMetricsOverride", &size);
    }

    pub(crate) fn prefer(&mut self, color_scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": color_scheme}]);
        self.chromium
            .call("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// The value of an expression.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let result = self.chromium.call("Runtime.evaluate", &asked);
        assert_eq!(result.get("exceptionDetails"), None, "{expression}");
        result["result"]["value"].clone()
    }

    /// The text of the first element that matches; `null` when there is none.
    pub(crate) fn text(&mut self, selector: &str) -> Value {
        self.eval(&format!(
            "document.querySelector({})?.innerText ?? null",
            json!(selector)
        ))
    }

    pub(crate) fn await_text(&mut self, selector: &str, wanted: &str) {
        let mut last = Value::Null;
        let what = format!("{selector} says {wanted:?}");
        let shows = || {
            last = self.text(selector);
            last.as_str().is_some_and(|text| text.contains(wanted))
        };
        eventually(&what, shows);
    }

    pub(crate) fn await_true(&mut self, expression: &str) {
        eventually(expression, || self.eval(expression) == json!(true));
    }

    /// The row of a topic: its cells by column name.
    pub(crate) fn topic(&mut self, name: &str) -> Value {
        self.row("topic-table", name)
    }

    /// The first row of a table with a cell of this text; `null` if there is none.
    pub(crate) fn row(&mut self, table: &str, text: &str) -> Value {
        let rows = format!("[...document.querySelectorAll('#{table} tbody tr')]");
        let found = format!(
            "{rows}.find((row) => [...row.cells].some((cell) => cell.textContent === {}))",
            json!(text)
        );
        let cells = "Object.fromEntries([...row.cells].map((cell) => [cell.dataset.label, cell.textContent]))";
        self.eval(&format!("((row) => row ? {cells} : null)({found})"))
    }

    pub(crate) fn await_row(&mut self, table: &str, text: &str) -> Value {
        let mut row = Value::Null;
        eventually(&format!("{text} in {table}"), || {
            row = self.row(table, text);
            row.is_object()
        });
        row
    }

    /// Clicks on the center of the first matching element.
    pub(crate) fn click(&mut self, selector: &str) {
        let selector = json!(selector);
        let place = self.eval(&format!(
            "((element) => {{
                element.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                const box = element.getBoundingClientRect();
                return [box.x + box.width / 2, box.y + box.height / 2];
            }})(document.querySelector({selector}))"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let mouse = json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.chromium.call("Input.dispatchMouseEvent", &mouse);
        }
    }

    /// Replaces the text of a field by typing.
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        let field = format!("document.querySelector({})", json!(selector));
        self.eval(&format!("{field}.focus(), {field}.select()"));
        if text.is_empty() {
            self.press("Delete", 46);
        } else {
            self.chromium
                .call("Input.insertText", &json!({"text": text}));
        }
    }

    /// Presses a key, given by its name and its Windows key code.
    pub(crate) fn press(&mut self, name: &str, code: u32) {
        let text = if name == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let key = json!({"type": kind, "key": name, "code": name, "text": text, "windowsVirtualKeyCode": code});
            self.chromium.call("Input.dispatchKeyEvent", &key);
        }
    }

    pub(crate) fn tail(&mut self, topic: &str) {
        self.fill("#tail-topic", topic);
        self.click("#tail-start");
        self.await_text("#tail-state", "live");
    }

    /// The `seq` of the visible events in the tail, newest first.
    pub(crate) fn tailed(&mut self) -> Vec<u64> {
        let shown = self.eval("[...document.querySelectorAll('#tail-rows li[data-seq]:not([hidden])')].map((row) => Number(row.dataset.seq))");
        let numbers = shown.as_array().expect("a list").iter();
        numbers.map(|number| number.as_u64().unwrap()).collect()
    }

    pub(crate) fn await_tailed(&mut self, expected: &[u64]) {
        let mut last = Vec::new();
        eventually(&format!("the tail shows {expected:?}"), || {
            last = self.tailed();
            last == expected
        });
    }

    pub(crate) fn screenshot(&mut self) -> Vec<u8> {
        let taken = self
            .chromium
            .call("Page.captureScreenshot", &json!({"format": "png"}));
        let data = taken["data"].as_str().expect("a screenshot");
        BASE64.decode(data.as_bytes()).expect("base64")
    }

    /// Errors in the browser: exceptions, console errors, policy violations.
    pub(crate) fn errors(&mut self) -> Vec<String> {
        // The browser sends pending events before the answer.
        self.eval("1");
        self.browser_errors()
    }

    fn browser_errors(&self) -> Vec<String> {
        let exceptions = self.chromium.events(&["Runtime.exceptionThrown"]);
        let console = self.chromium.events(&["Runtime.consoleAPICalled"]);
        let console = console.into_iter().filter(|call| call["type"] == "error");
        let log = self.chromium.events(&["Log.entryAdded"]);
        let log = log
            .into_iter()
            .filter(|entry| entry["entry"]["level"] == "error");
        let all = exceptions.into_iter().chain(console).chain(log);
        all.map(|complaint| complaint.to_string()).collect()
    }

    /// Asserts that there were no errors, and no requests to other hosts.
    pub(crate) fn expect_clean(&mut self) {
        assert_eq!(self.errors(), Vec::<String>::new());
        self.expect_no_other_host();
    }

    pub(crate) fn expect_no_other_host(&mut self) {
        let own = [
            format!("http://{}/", self.addr),
            format!("ws://{}/ws", self.addr),
        ];
        let mut asked = 0;
        for request in self
            .chromium
            .events(&["Network.requestWillBeSent", "Network.webSocketCreated"])
        {
            let url = request["request"]["url"]
                .as_str()
                .or(request["url"].as_str());
            let url = url.expect("a URL");
            let is_own = own.iter().any(|own| url.starts_with(own));
            assert!(is_own || url.starts_with("data:"), "{url}");
            asked += u32::from(is_own);
        }
        assert!(asked > 3, "requests were not recorded");
    }

    /// Discards the errors so far, which were expected.
    pub(crate) fn forgive(&mut self) {
        self.chromium.forget();
    }
}

/// A failing test prints the errors of the browser.
impl Drop for Page {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("errors in the browser: {:#?}", self.browser_errors());
        }
    }
}
