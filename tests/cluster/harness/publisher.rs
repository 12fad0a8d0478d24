//! A publisher that goes on in its own thread through every fault, and notes what became of each message.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{DELIVERY_LIMIT, Homes, Node, let_pass, within};
use crate::harness::{Dial, Frame, Incoming, Opcode, WsClient, code_of, epoch_of, seq_of, uuid_of};

/// Messages under way at once.
const WINDOW: usize = 8;
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);
/// Longer than any answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What became of the messages of one publisher.
#[derive(Debug, Clone, Default)]
pub(crate) struct Published {
    /// The ids of acked messages, by epoch and seq.
    pub(crate) acked: BTreeMap<(String, u64), String>,
    /// Messages that may or may not have been taken: `UNAVAILABLE`, or the connection ended before the answer.
    pub(crate) unsure: Vec<String>,
    /// Messages that were refused for sure, with the code.
    pub(crate) refused: Vec<(String, String)>,
    /// The longest time between a publish and its answer.
    pub(crate) slowest: Duration,
    pub(crate) violations: Vec<String>,
}

/// A running publisher, stopped when dropped.
pub(crate) struct Publisher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    published: Mutex<Published>,
    stopped: AtomicBool,
}

impl Publisher {
    /// Publishes to `topic` on this node, with `pause` between two windows.
    pub(crate) fn start(node: &Node, topic: &str, pause: Duration) -> Publisher {
        Publisher::roaming(&Homes::of([node.addr()]), 0, topic, pause)
    }

    /// Publishes on one of the nodes of `homes`, and on the next one when its connection ends.
    pub(crate) fn roaming(homes: &Homes, first: usize, topic: &str, pause: Duration) -> Publisher {
        static PUBLISHERS: AtomicU64 = AtomicU64::new(1);
        let shared = Arc::new(Shared {
            published: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let mut worker = Worker {
            shared: Arc::clone(&shared),
            homes: homes.clone(),
            attempt: first,
            topic: topic.to_owned(),
            pause,
            number: PUBLISHERS.fetch_add(1, Ordering::Relaxed),
            sent: 0,
        };
        let thread = thread::spawn(move || worker.run());
        let thread = Some(thread);
        Publisher { shared, thread }
    }

    pub(crate) fn acked(&self) -> usize {
        self.shared.published().acked.len()
    }

    /// The longest time between a publish and its answer.
    pub(crate) fn slowest(&self) -> Duration {
        self.shared.published().slowest
    }

    /// Waits until `more` messages are acked from now on.
    #[track_caller]
    pub(crate) fn await_acked(&self, more: usize) {
        self.await_acked_within(DELIVERY_LIMIT, more);
    }

    #[track_caller]
    pub(crate) fn await_acked_within(&self, limit: Duration, more: usize) {
        let goal = self.acked() + more;
        let what = format!("{more} more acks for a publisher");
        within(limit, &what, || self.acked() >= goal);
    }

    /// Waits until a message is answered with `UNAVAILABLE`, or its connection ends, from now on.
    #[track_caller]
    pub(crate) fn await_unsure(&self) {
        let count = || self.shared.published().unsure.len();
        let before = count();
        within(DELIVERY_LIMIT, "a publish is not acked", || {
            count() > before
        });
    }

    /// Ends it, once all that is under way is answered; returns what became of its messages.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Published {
        self.end();
        let published = self.shared.published().clone();
        let violations = &published.violations;
        assert!(violations.is_empty(), "a publisher: {violations:#?}");
        published
    }

    fn end(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(
                ended.is_ok() || thread::panicking(),
                "a publisher has panicked"
            );
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn published(&self) -> MutexGuard<'_, Published> {
        self.published
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

struct Worker {
    shared: Arc<Shared>,
    homes: Homes,
    attempt: usize,
    topic: String,
    pause: Duration,
    number: u64,
    sent: u64,
}

impl Worker {
    fn run(&mut self) {
        while !self.shared.is_stopped() {
            let home = self.homes.pick(self.attempt);
            self.attempt += 1;
            if let Some(mut client) = home.and_then(connect) {
                while !self.shared.is_stopped() && self.publish_window(&mut client) {
                    let_pass(self.pause);
                }
            }
            if !self.shared.is_stopped() {
                let_pass(RECONNECT_PAUSE);
            }
        }
    }

    /// Publishes some messages and reads their answers; `false` when the connection has ended.
    fn publish_window(&mut self, client: &mut WsClient) -> bool {
        let ids: Vec<String> = (0..WINDOW).map(|_| self.next_id()).collect();
        let start = Instant::now();
        let frames = ids.iter().map(|id| Frame::text(&self.request(id)).masked());
        let bytes: Vec<u8> = frames.flatten().collect();
        let mut unanswered = ids;
        let is_sent = client.try_send_bytes(&bytes);
        while is_sent && !unanswered.is_empty() {
            match client.receive_within(ANSWER_LIMIT) {
                Some(Incoming::Text(text)) => self.take(&text, &mut unanswered, start),
                Some(Incoming::Ping(payload)) => {
                    client.try_send_bytes(&Frame::new(Opcode::Pong, &payload).masked());
                }
                Some(Incoming::Pong(_)) => {}
                Some(Incoming::Close(_) | Incoming::End) | None => break,
            }
        }
        let is_whole = unanswered.is_empty();
        self.shared.published().unsure.extend(unanswered);
        is_whole
    }

    fn take(&self, text: &str, unanswered: &mut Vec<String>, start: Instant) {
        let message: Value = serde_json::from_str(text).expect("JSON");
        let Some(id) = message["request_id"].as_str().map(str::to_owned) else {
            return;
        };
        let mut published = self.shared.published();
        let Some(place) = unanswered.iter().position(|known| *known == id) else {
            let violation = format!("an answer to nothing: {message}");
            published.violations.push(violation);
            return;
        };
        unanswered.remove(place);
        published.slowest = published.slowest.max(start.elapsed());
        published.take(id, &message);
    }

    fn request(&self, id: &str) -> String {
        let message = json!({"id": id, "payload": {"publisher": self.number}});
        json!({"type": "publish", "topic": self.topic, "message": message, "request_id": id})
            .to_string()
    }

    fn next_id(&mut self) -> String {
        self.sent += 1;
        let number = u128::from(self.number) << 64 | u128::from(self.sent);
        Uuid::from_u128(number).to_string()
    }
}

impl Published {
    /// Messages with the ids of these numbers, each with its seq.
    pub(crate) fn acked(
        epoch: &str,
        seqs: impl IntoIterator<Item = u64>,
        numbers: impl IntoIterator<Item = u64>,
    ) -> Published {
        let places = seqs.into_iter().map(|seq| (epoch.to_owned(), seq));
        let acked = places.zip(numbers.into_iter().map(uuid_of)).collect();
        Published {
            acked,
            ..Published::default()
        }
    }

    fn take(&mut self, id: String, answer: &Value) {
        if answer["type"] != "ack" {
            match code_of(answer) {
                "UNAVAILABLE" => self.unsure.push(id),
                code => self.refused.push((id, code.to_owned())),
            }
            return;
        }
        let place = (epoch_of(answer).to_owned(), seq_of(answer));
        if let Some(other) = self.acked.insert(place, id) {
            let violation = format!("{answer} has the place of {other}");
            self.violations.push(violation);
        }
    }
}

fn connect(addr: SocketAddr) -> Option<WsClient> {
    Dial::to(addr).try_connect().ok()
}
