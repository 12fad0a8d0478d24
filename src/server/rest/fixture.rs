//! For tests: an API over a broker of its own, and requests as the HTTP edge makes them.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{Api, Connected, ConnectionLine, Route, Vitals};
use crate::broker::{Broker, Cursors, Elsewhere, SubscriberSink, Subscription};
use crate::config::Config;
use crate::protocol::{ClientId, StartAt};
use crate::server::http::fields::BodyLength;
use crate::server::http::head::Head;
use crate::server::http::request_line::Version;
use crate::server::http::{Request, Response};
use crate::sync::{Arc, Weak};

pub(super) struct Server {
    api: Api,
    connections: Arc<Connections>,
}

/// Id, name of the key, subscriptions.
type Connection = (u64, Option<String>, Vec<Arc<Subscription>>);

/// The connections of a test.
#[derive(Default)]
struct Connections(Mutex<Vec<Connection>>);

impl Connected for Connections {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn size(&self, limit: usize) -> (usize, usize) {
        let connections = self.0.lock().unwrap();
        let shown = connections.iter().take(limit);
        let subscriptions = shown.map(|(_, _, subscriptions)| subscriptions.len());
        (connections.len().min(limit), subscriptions.sum())
    }

    fn list(&self, limit: usize) -> (usize, Vec<ConnectionLine>) {
        let connections = self.0.lock().unwrap();
        let line = |(id, key, subscriptions): &Connection| ConnectionLine {
            id: *id,
            protocol: "http",
            address: SocketAddr::from(([127, 0, 0, 1], 51234)).into(),
            key: key.clone(),
            user: None,
            uptime_sec: 120,
            idle_sec: 3,
            pending_bytes: 0,
            subscriptions: subscriptions.clone(),
        };
        let lines = connections.iter().take(limit).map(line).collect();
        (connections.len(), lines)
    }

    fn close(&self, id: u64) -> bool {
        let mut connections = self.0.lock().unwrap();
        let before = connections.len();
        connections.retain(|(known, ..)| *known != id);
        connections.len() < before
    }
}

/// An API over `broker` that answers `DELETE /connections/{id}` by calling `close` on the worker.
pub(crate) fn api(
    broker: &Arc<Broker>,
    close: impl Fn(u64) -> bool + Send + Sync + 'static,
) -> Arc<Api> {
    let connections = Arc::new(OnClose(Box::new(close)));
    let api = Api::new(
        Arc::clone(broker),
        connections,
        Vitals::default(),
        Vec::new(),
    );
    Arc::new(api)
}

struct OnClose(Box<dyn Fn(u64) -> bool + Send + Sync>);

impl Connected for OnClose {
    fn count(&self) -> usize {
        0
    }

    fn size(&self, _: usize) -> (usize, usize) {
        (0, 0)
    }

    fn list(&self, _: usize) -> (usize, Vec<ConnectionLine>) {
        (0, Vec::new())
    }

    fn close(&self, id: u64) -> bool {
        (self.0)(id)
    }
}

impl Server {
    pub(super) fn new() -> Server {
        Server::with_max_topics(Config::default().max_topics)
    }

    pub(super) fn with_max_topics(max_topics: usize) -> Server {
        let config = Config {
            max_topics,
            ..Config::default()
        };
        let broker = Arc::new(Broker::new(&config));
        let connections = Arc::new(Connections::default());
        let vitals = Vitals::default();
        let api = Api::new(
            broker,
            Arc::clone(&connections) as _,
            vitals,
            config.settings(),
        );
        Server { api, connections }
    }

    pub(super) fn respond(&self, request: &Request) -> Response {
        self.api.respond(request)
    }

    pub(super) fn answer(&self, request: &Request) -> (u16, String) {
        let response = self.respond(request);
        (response.status, String::from_utf8(response.body).unwrap())
    }

    /// The body of a response that must be a success.
    pub(super) fn json(&self, request: &Request) -> serde_json::Value {
        let (status, body) = self.answer(request);
        assert!(matches!(status, 200 | 201), "{status} {body}");
        serde_json::from_str(&body).unwrap()
    }

    pub(super) fn create(&self, name: &str) {
        let body = format!(r#"{{"name":"{name}"}}"#);
        self.json(&post("/topics", body.as_bytes()));
    }

    pub(super) fn publish(&self, name: &str, payload: &str) {
        let body = format!(r#"{{"payload":{payload}}}"#);
        let path = format!("/topics/{name}/messages");
        self.json(&post(&path, body.as_bytes()));
    }

    pub(super) fn epoch(&self, name: &str) -> String {
        let topic = self.json(&get(&format!("/topics/{name}")));
        topic["epoch"].as_str().unwrap().to_owned()
    }

    pub(super) fn subscribe_idle(&self, name: &str) -> Arc<Subscription> {
        let topic = self.api.broker.topic(name).unwrap();
        let client_id = ClientId::new("idle").unwrap();
        let sink: Weak<dyn SubscriberSink> = Weak::<Elsewhere>::new();
        let opened = Cursors::default().open(&topic, client_id, &StartAt::Last(0), &sink);
        let Ok(opened) = opened else {
            panic!("refused")
        };
        assert_eq!(opened.seq, 0);
        opened.subscription
    }

    pub(super) fn drain(&self) {
        self.api.broker.drain();
    }

    /// A connection with an idle subscription to each of these topics.
    pub(super) fn connect(&self, id: u64, key: Option<&str>, topics: &[&str]) {
        let subscriptions = topics.iter().map(|topic| self.subscribe_idle(topic));
        let connection = (id, key.map(str::to_owned), subscriptions.collect());
        self.connections.0.lock().unwrap().push(connection);
    }

    pub(super) fn instance(&self) -> &str {
        &self.api.instance
    }

    /// Sets the uptime of the server.
    pub(super) fn age(&mut self, age: Duration) {
        self.api.started = Instant::now().checked_sub(age).unwrap();
    }
}

pub(crate) fn get(target: &str) -> Request {
    request("GET", target, b"")
}

pub(super) fn delete(target: &str) -> Request {
    request("DELETE", target, b"")
}

pub(super) fn post(target: &str, body: &[u8]) -> Request {
    request("POST", target, body)
}

/// A POST whose body is labelled as something other than JSON.
pub(super) fn post_labelled_otherwise(target: &str, body: &[u8]) -> Request {
    Request {
        body_may_be_json: false,
        ..post(target, body)
    }
}

pub(crate) fn request(method: &str, target: &str, body: &[u8]) -> Request {
    Request {
        route: Route::of(&head(method, target)),
        body_may_be_json: true,
        body: body.to_vec(),
        max_response_bytes: usize::MAX,
        place: None,
    }
}

/// A head without fields.
pub(crate) fn head(method: &str, target: &str) -> Head {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    Head {
        method: method.to_owned(),
        path: path.to_owned(),
        query,
        version: Version::Http11,
        headers: Vec::new(),
        body: BodyLength::None,
        expects_continue: false,
        keep_alive: true,
    }
}

/// The body of a problem whose detail needs no escaping.
pub(super) fn problem(status: u16, code: &str, title: &str, detail: &str) -> String {
    format!(
        r#"{{"type":"about:blank","title":"{title}","status":{status},"detail":"{detail}","code":"{code}"}}"#
    )
}
