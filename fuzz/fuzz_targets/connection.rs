//! A whole connection to a server in this process: HTTP or a WebSocket, written as a script of the oracle.
//!
//! The server sends only well-formed responses and frames, answers each request once, and stays alive. When the connection
//! has ended, no subscription and no thread of it is left.

#![no_main]

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use oracle::script::{self, Script, Step};
use oracle::{answers, json};
use socket2::SockRef;
use threadcast::{Config, Server};

const MAX_MESSAGE_BYTES: usize = 1024;
/// More replies may not fit into the buffers of a client that does not read while it sends.
const MAX_COUNTED_REQUESTS: usize = 150;
/// Far longer than any step takes.
const DEADLINE: Duration = Duration::from_secs(20);
const TOPICS: [&str; 2] = ["a", "b"];
const HANDSHAKE: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

static WORLD: LazyLock<Mutex<World>> = LazyLock::new(|| Mutex::new(World::new()));

fuzz_target!(|data: &[u8]| {
    let Some(script) = script::read(data, MAX_MESSAGE_BYTES) else {
        return;
    };
    let mut world = WORLD.lock().unwrap();
    let (output, is_whole) = world.perform(&script);
    let answered = answers::check(&output, !is_whole, script.sends(b"HEAD"));
    if let Some(requests) = script
        .requests_only
        .filter(|requests| *requests <= MAX_COUNTED_REQUESTS)
    {
        assert_eq!(
            answered,
            requests,
            "answers to requests: {}",
            output.escape_ascii()
        );
    }
    world.settle();
});

/// The server, and a connection to observe it.
struct World {
    address: SocketAddr,
    control: TcpStream,
    _server: Server,
}

impl World {
    fn new() -> World {
        let server = Server::bind(Config {
            port: 0,
            max_message_bytes: MAX_MESSAGE_BYTES,
            max_queue_size: 4,
            history_size: 6,
            max_topics: 4,
            max_subscriptions: 3,
            block_timeout: Duration::from_millis(5),
            rest_workers: 1,
            ..Config::default()
        });
        let server = server.unwrap();
        let address = server.local_addr();
        let mut world = World {
            address,
            control: connect(address),
            _server: server,
        };
        TOPICS.iter().for_each(|topic| world.create(topic));
        world
    }

    /// The bytes the server has sent, and whether they are complete.
    fn perform(&mut self, script: &Script) -> (Vec<u8>, bool) {
        let mut stream = connect(self.address);
        let mut packet = if script.is_websocket {
            HANDSHAKE.to_vec()
        } else {
            Vec::new()
        };
        let mut takes_more = true;
        for step in &script.steps {
            if let Step::Send(bytes) = step {
                packet.extend_from_slice(bytes);
                continue;
            }
            takes_more = takes_more && stream.write_all(&packet).is_ok();
            packet.clear();
            match step {
                Step::Create(body) => drop(self.ask("POST", "/topics", body)),
                Step::Delete(topic) => {
                    let topic: String = topic.iter().map(|byte| format!("%{byte:02x}")).collect();
                    self.ask("DELETE", &format!("/topics/{topic}"), b"");
                }
                Step::Reset => {
                    SockRef::from(&stream)
                        .set_linger(Some(Duration::ZERO))
                        .unwrap();
                    return (Vec::new(), false);
                }
                Step::Send(_) | Step::Packet => {}
            }
        }
        let _ = takes_more && stream.write_all(&packet).is_ok();
        let _ = stream.shutdown(Shutdown::Write);
        let mut output = Vec::new();
        match stream.read_to_end(&mut output) {
            Ok(_) => (output, true),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => (output, false),
            Err(error) => panic!("the connection does not end: {error}"),
        }
    }

    /// Waits until nothing of a connection is left, then restores the topics.
    fn settle(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        let topics_are_new = loop {
            let health = self.ask("GET", "/health", b"");
            let health = json::parse(&health).expect("health is JSON");
            let figure = |name| health.get(name).map_or("", |node| node.text);
            let left = (
                figure("connections"),
                figure("subscribers"),
                connection_threads(),
            );
            if left == ("1", "0", 1) {
                break figure("topics") == "2" && figure("retained_bytes") == "0";
            }
            assert!(
                Instant::now() < deadline,
                "left are (connections, subscriptions, threads): {left:?}"
            );
        };
        if !topics_are_new {
            self.renew_topics();
        }
    }

    fn renew_topics(&mut self) {
        let topics = self.ask("GET", "/topics", b"");
        let topics = json::parse(&topics).expect("the topics are JSON");
        let json::Value::Array(topics) = &topics.get("topics").expect("topics").value else {
            panic!("no list of topics");
        };
        for topic in topics {
            let name = topic
                .get("name")
                .and_then(json::Node::string)
                .expect("a name");
            self.ask("DELETE", &format!("/topics/{name}"), b"");
        }
        TOPICS.iter().for_each(|topic| self.create(topic));
    }

    fn create(&mut self, topic: &str) {
        let body = format!("{{\"name\":\"{topic}\"}}");
        let response = self.ask("POST", "/topics", body.as_bytes());
        assert!(response.contains("created"), "{response}");
    }

    /// The body of a response.
    fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> String {
        let length = body.len();
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
                .into_bytes();
        request.extend_from_slice(body);
        self.control
            .write_all(&request)
            .expect("the server is alive");
        let mut answer = Vec::new();
        loop {
            let mut piece = [0; 4096];
            let read = match self.control.read(&mut piece) {
                // libFuzzer's timer is a signal, which interrupts reads.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.expect("the server answers"),
            };
            assert_ne!(
                read, 0,
                "the server closed a connection that did nothing wrong"
            );
            answer.extend_from_slice(&piece[..read]);
            if let Some(body) = whole_body(&answer) {
                return body.to_owned();
            }
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn whole_body(answer: &[u8]) -> Option<&str> {
    let (head, body) = std::str::from_utf8(answer).ok()?.split_once("\r\n\r\n")?;
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let (_, length) = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    let length: usize = length.parse().ok()?;
    (body.len() == length).then_some(body)
}

/// Number of connection threads, including the observer's.
fn connection_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads are listed");
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names
        .filter(|name| name.starts_with("conn-") || name.starts_with("ws-w-"))
        .count()
}
