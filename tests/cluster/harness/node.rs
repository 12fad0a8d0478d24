//! A server of the cluster as a process: its address, its log, signals, and requests to it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::{Published, READY_LIMIT, within};
use crate::harness::{ChildServer, Dial, HttpClient, Reply, WsClient, epoch_of, seq_of};

const GREETING: &str = "listening on http://";
const START_LIMIT: Duration = Duration::from_secs(10);
const END_LIMIT: Duration = Duration::from_secs(20);
/// Lines of the log that a failed test prints.
const LINES_SHOWN: usize = 40;

/// A run of the server program, killed when dropped. Its log is printed if the test fails.
pub(crate) struct NodeProcess {
    child: Mutex<Child>,
    pid: Pid,
    output: Lines,
    log: Lines,
    /// They end when the program does.
    readers: Mutex<Vec<JoinHandle<()>>>,
}

/// Lines that a thread reads from a pipe, so that the server can write.
type Lines = Arc<Mutex<Vec<String>>>;

/// A node that listens.
pub(crate) struct Node {
    process: NodeProcess,
    addr: SocketAddr,
}

impl NodeProcess {
    /// Starts the program on a free port with these environment variables.
    pub(crate) fn start(variables: &[(&str, &str)]) -> NodeProcess {
        let mut command: Command = ChildServer::command(variables);
        let mut child = command
            .env("PUBSUB_PORT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server program runs");
        let (output, of_output) = lines_of(child.stdout.take().expect("a pipe"));
        let (log, of_log) = lines_of(child.stderr.take().expect("a pipe"));
        NodeProcess {
            pid: Pid::from_raw(i32::try_from(child.id()).expect("a process id")),
            output,
            log,
            readers: Mutex::new(vec![of_output, of_log]),
            child: Mutex::new(child),
        }
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> Vec<String> {
        lock(&self.log).clone()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid, signal).expect("the node runs");
    }

    /// Waits for its end, and for all of its log.
    pub(crate) fn await_end(&self) -> ExitStatus {
        let mut ended = None;
        within(END_LIMIT, "the node ends", || {
            ended = self.ended();
            ended.is_some()
        });
        for reader in lock(&self.readers).drain(..) {
            reader.join().expect("a reader does not panic");
        }
        ended.expect("an exit status")
    }

    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        let waited = lock(&self.child).try_wait();
        waited.expect("a process can be waited for")
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        let _already_ended = child.kill();
        let _status = child.wait();
        if thread::panicking() {
            let log = self.log();
            let shown = log.len().saturating_sub(LINES_SHOWN);
            println!("the log of node {}:\n{}", self.pid, log[shown..].join("\n"));
        }
    }
}

impl Node {
    /// Starts a node and waits until it listens, not until it is ready.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Node {
        let process = NodeProcess::start(variables);
        let mut line = None;
        within(START_LIMIT, "the node prints its address", || {
            line = lock(&process.output).first().cloned();
            line.is_some() || process.ended().is_some()
        });
        let addr = line.as_ref().and_then(|line| line.strip_prefix(GREETING));
        let addr = addr.unwrap_or_else(|| panic!("no address but {line:?}: {:?}", process.log()));
        let addr = addr.parse().expect("an address");
        Node { process, addr }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.process.log()
    }

    /// Whether a line of its log contains this text.
    pub(crate) fn has_logged(&self, text: &str) -> bool {
        self.log().iter().any(|line| line.contains(text))
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub(crate) fn kill(&self) {
        self.process.signal(Signal::SIGKILL);
        self.process.await_end();
    }

    /// Stops it (SIGSTOP): its sockets stay open and nothing is answered.
    pub(crate) fn pause(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// Lets it go on (SIGCONT).
    pub(crate) fn proceed(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// Shuts it down (SIGTERM) and waits for its end, which must be in order.
    pub(crate) fn shut_down(&self) {
        self.process.signal(Signal::SIGTERM);
        let status = self.process.await_end();
        assert_eq!(status.code(), Some(0), "{status}");
    }

    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        self.process.ended()
    }

    pub(crate) fn ws(&self) -> WsClient {
        Dial::to(self.addr).connect()
    }

    pub(crate) fn http(&self) -> HttpClient {
        HttpClient::connect(self.addr)
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.http().get(path)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.http().post(path, body)
    }

    pub(crate) fn delete(&self, path: &str) -> Reply {
        self.http().delete(path)
    }

    pub(crate) fn create_topic(&self, topic: &str) {
        self.create_topic_with(topic, &json!({}));
    }

    pub(crate) fn create_topic_with(&self, topic: &str, options: &Value) {
        self.try_create_topic(topic, options).expect(201);
    }

    pub(crate) fn try_create_topic(&self, topic: &str, options: &Value) -> Reply {
        let mut body = options.clone();
        body["name"] = json!(topic);
        self.post("/topics", &body)
    }

    pub(crate) fn delete_topic(&self, topic: &str) {
        self.delete(&format!("/topics/{topic}")).expect(200);
    }

    /// The body of `GET /topics/{name}`.
    pub(crate) fn topic(&self, topic: &str) -> Value {
        self.get(&format!("/topics/{topic}")).expect(200)
    }

    pub(crate) fn epoch(&self, topic: &str) -> String {
        epoch_of(&self.topic(topic)).to_owned()
    }

    pub(crate) fn seq(&self, topic: &str) -> u64 {
        seq_of(&self.topic(topic))
    }

    /// How many subscriptions the topic has in the cluster, as this node says.
    pub(crate) fn subscribers(&self, topic: &str) -> u64 {
        let shown = self.topic(topic);
        shown["subscribers"].as_u64().expect("a count")
    }

    /// The names in `GET /topics`.
    pub(crate) fn topic_names(&self) -> Vec<String> {
        let list = self.get("/topics").expect(200);
        let topics = list["topics"].as_array().expect("a list");
        let name = |topic: &Value| topic["name"].as_str().expect("a name").to_owned();
        topics.iter().map(name).collect()
    }

    /// The body of `GET /topics/{name}/messages` with this query.
    pub(crate) fn history(&self, topic: &str, query: &str) -> Value {
        self.get(&format!("/topics/{topic}/messages{query}"))
            .expect(200)
    }

    pub(crate) fn health(&self) -> Value {
        self.get("/health").expect(200)
    }

    /// The nodes in `GET /nodes`.
    pub(crate) fn nodes(&self) -> Vec<Value> {
        let list = self.get("/nodes").expect(200);
        list["nodes"].as_array().expect("a list").clone()
    }

    /// Publishes messages numbered `first..=last`, several at once, and waits for their acks; returns their sequences.
    pub(crate) fn publish(&self, topic: &str, first: u64, last: u64) -> Vec<u64> {
        self.ws().publish_many(topic, first, last)
    }

    /// Like [`Node::publish`]; returns what was acked, for an audit.
    pub(crate) fn publish_noted(&self, topic: &str, first: u64, last: u64) -> Published {
        let epoch = self.epoch(topic);
        let seqs = self.publish(topic, first, last);
        Published::acked(&epoch, seqs, first..=last)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.get("/readyz").status == 200
    }

    pub(crate) fn await_ready(&self) {
        within(READY_LIMIT, "the node is ready", || self.is_ready());
    }

    pub(crate) fn await_not_ready(&self) {
        within(super::NOT_READY_LIMIT, "the node is not ready", || {
            !self.is_ready()
        });
    }

    /// Waits until the node says that the topic has this many subscriptions in the cluster.
    pub(crate) fn await_subscribers(&self, topic: &str, count: u64) {
        self.await_subscribers_within(super::COUNT_LIMIT, topic, count);
    }

    pub(crate) fn await_subscribers_within(&self, limit: Duration, topic: &str, count: u64) {
        let what = format!("{count} subscriptions of {topic} at {}", self.addr);
        within(limit, &what, || self.subscribers(topic) == count);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lines_of(pipe: impl Read + Send + 'static) -> (Lines, JoinHandle<()>) {
    let lines = Lines::default();
    let kept = Arc::clone(&lines);
    let reader = thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            lock(&kept).push(line);
        }
    });
    (lines, reader)
}
