//! A server for one test, on a free port of the loopback address.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use threadcast::{InvalidKeysFile, Server, ShutdownReport};

use super::cluster::Cluster;
use super::tls::TlsByEnvironment;
use super::{Config, Dial, HttpClient, OverflowPolicy, Page, StreamClient, WsClient, eventually};

/// A running server, shut down when dropped.
pub(crate) struct TestServer {
    server: Server,
    /// The node that gets the requests over REST, if it is another one.
    http_node: Option<Server>,
    addr: SocketAddr,
    /// Ends after the server.
    _tls: TlsByEnvironment,
}

impl TestServer {
    /// A server with the default settings.
    pub(crate) fn start() -> TestServer {
        TestServer::with(|_| {})
    }

    /// A server with a small queue and send buffer, so that a slow subscriber of the topic `orders` soon falls behind.
    pub(crate) fn with_small_queue(
        queue: usize,
        overflow: OverflowPolicy,
        block_timeout: Duration,
        change: impl FnOnce(&mut Config),
    ) -> TestServer {
        let server = TestServer::with(|config| {
            config.overflow = overflow;
            config.max_queue_size = queue;
            config.block_timeout = block_timeout;
            config.send_buffer_bytes = 4 << 10;
            change(config);
        });
        server.create_topic("orders");
        server
    }

    /// A server with the default settings, changed by `change`.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> TestServer {
        let mut config = Config {
            port: 0,
            ..Config::default()
        };
        change(&mut config);
        let mut tls = TlsByEnvironment::prepare(&mut config);
        let cluster = Cluster::from_environment();
        cluster.join(&mut config);
        let http_node = cluster.second_node(&config);
        let server = Server::bind(config).expect("a free port");
        let addr = tls.address_of(server.local_addr());
        cluster.await_ready(&server);
        TestServer {
            server,
            http_node,
            addr,
            _tls: tls,
        }
    }

    /// A server with the default settings and one topic.
    pub(crate) fn with_topic(topic: &str) -> TestServer {
        let server = TestServer::start();
        server.create_topic(topic);
        server
    }

    /// The server as an embedding program has it.
    pub(crate) fn embedded(&self) -> &Server {
        &self.server
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A new WebSocket connection.
    pub(crate) fn ws(&self) -> WsClient {
        Dial::to(self.addr).connect()
    }

    /// A new WebSocket connection with a small receive buffer: it soon blocks the server when it does not read.
    pub(crate) fn small_buffer_ws(&self) -> WsClient {
        Dial::to(self.addr).receive_buffer(4 << 10).connect()
    }

    /// A connection with a small receive buffer and a subscription.
    pub(crate) fn small_buffer_subscriber(&self, topic: &str, client_id: &str) -> WsClient {
        let mut client = self.small_buffer_ws();
        client.subscribe(topic, client_id);
        client
    }

    /// A new HTTP connection.
    pub(crate) fn http(&self) -> HttpClient {
        let node = self.http_node.as_ref().map(Server::local_addr);
        HttpClient::connect(node.unwrap_or(self.addr))
    }

    /// A new event stream of a topic, with this query.
    pub(crate) fn stream(&self, topic: &str, query: &str) -> StreamClient {
        StreamClient::open(self.addr, &format!("/topics/{topic}/events{query}"))
    }

    pub(crate) fn create_topic(&self, topic: &str) {
        self.create_topic_with(topic, &json!({}));
    }

    /// Creates a topic with these options.
    pub(crate) fn create_topic_with(&self, topic: &str, options: &Value) {
        let mut body = options.clone();
        body["name"] = json!(topic);
        self.http().post("/topics", &body).expect(201);
    }

    pub(crate) fn delete_topic(&self, topic: &str) {
        self.http().delete(&format!("/topics/{topic}")).expect(200);
    }

    /// The body of `GET /topics/{name}`.
    pub(crate) fn topic(&self, topic: &str) -> Value {
        self.http().get(&format!("/topics/{topic}")).expect(200)
    }

    /// The body of `GET /health`.
    pub(crate) fn health(&self) -> Value {
        self.http().get("/health").expect(200)
    }

    /// The parsed page of `GET /metrics`.
    pub(crate) fn metrics(&self) -> Page {
        let reply = self.http().get("/metrics");
        assert_eq!(reply.status, 200, "{reply}");
        Page::parse(std::str::from_utf8(&reply.body).expect("text"))
    }

    /// Waits until a sample of `/metrics`, written as `name{label="value"}`, has this value.
    pub(crate) fn await_metric(&self, series: &str, value: u64) {
        let mut last = None;
        let what = format!("{series} is {value}");
        eventually(&what, || {
            let now = self.metrics().count(series);
            if last.replace(now) != Some(now) {
                println!("{series} is {now}");
            }
            now == value
        });
    }

    /// Waits until the topic has exactly `count` subscriptions.
    pub(crate) fn await_subscribers(&self, topic: &str, count: u64) {
        eventually(&format!("{count} subscriptions of {topic}"), || {
            self.topic(topic)["subscribers"] == count
        });
    }

    /// Panics of its threads.
    pub(crate) fn panics(&self) -> u64 {
        self.server.panics()
    }

    pub(crate) fn reload_keys(&self) -> Result<(), InvalidKeysFile> {
        self.server.reload_keys()
    }

    pub(crate) fn shutdown(self) -> ShutdownReport {
        self.server.shutdown()
    }
}
