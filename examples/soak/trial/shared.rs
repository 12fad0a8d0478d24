//! What all clients of a trial share: the server, the record of each topic, the violations; and their counts and random numbers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::{AddAssign, Range};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use threadcast::config::OverflowPolicy;
use threadcast::load::{Connection, Failure};

use super::Plan;
use super::keys::Keys;
use super::message::MessageId;
use super::record::TopicRecord;

/// How long a read waits before it returns that nothing came.
const IDLE_TIME: Duration = Duration::from_millis(50);
/// Violations kept as text; the rest is only counted.
const MOST_TEXTS: usize = 20;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) server: SocketAddr,
    pub(crate) plan: Plan,
    pub(crate) records: Vec<TopicRecord>,
    /// Of a server that asks for one.
    pub(crate) keys: Option<Keys>,
    pub(crate) started: Instant,
    /// When the publishers stop.
    pub(crate) publish_until: Instant,
    /// The newest seq of each topic, once publishing is over.
    heads: OnceLock<Vec<u64>>,
    /// Messages whose publisher was closed before they were answered, and the newest seq of their topic then.
    unanswered: Mutex<HashMap<MessageId, u64>>,
    violations: AtomicU64,
    texts: Mutex<Vec<String>>,
}

impl Shared {
    pub(crate) fn new(server: SocketAddr, plan: &Plan, keys: Option<Keys>) -> Shared {
        Shared {
            server,
            plan: plan.clone(),
            records: (0..plan.topics).map(|_| TopicRecord::default()).collect(),
            keys,
            unanswered: Mutex::default(),
            started: Instant::now(),
            publish_until: Instant::now() + plan.duration,
            heads: OnceLock::new(),
            violations: AtomicU64::new(0),
            texts: Mutex::new(Vec::new()),
        }
    }

    /// A new WebSocket connection.
    pub(crate) fn connect(
        &self,
        receive_buffer_bytes: Option<usize>,
        key: Option<&str>,
    ) -> Result<Connection, Failure> {
        let mut connection = Connection::open(self.server, receive_buffer_bytes)?;
        connection.upgrade("/ws", key)?;
        connection.set_idle_time(IDLE_TIME)?;
        Ok(connection)
    }

    /// The topics of the policy that comes `class`-th.
    pub(crate) fn topics_of_class(&self, class: usize) -> Vec<usize> {
        let classes = OverflowPolicy::ALL.len();
        let same = |topic: &usize| topic % classes == class % classes;
        (0..self.plan.topics).filter(same).collect()
    }

    /// Publishing is over: every subscriber reads to these heads.
    pub(crate) fn finish(&self, heads: Vec<u64>) {
        // Called once.
        let _ = self.heads.set(heads);
    }

    pub(crate) fn heads(&self) -> Option<&[u64]> {
        self.heads.get().map(Vec::as_slice)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.heads.get().is_some()
    }

    /// The publisher of these messages was closed, and after that the newest seq of their topic was `head`.
    pub(crate) fn leave_unanswered(&self, ids: impl Iterator<Item = MessageId>, head: u64) {
        self.unanswered.lock().extend(ids.map(|id| (id, head)));
    }

    pub(crate) fn unanswered(&self) -> HashMap<MessageId, u64> {
        self.unanswered.lock().clone()
    }

    /// Adds a violation, if this is one.
    pub(crate) fn check(&self, who: &str, topic: usize, result: Result<(), String>) {
        if let Err(what) = result {
            self.violation(format!("{who}, topic {topic}: {what}"));
        }
    }

    pub(crate) fn violation(&self, text: String) {
        self.violations.fetch_add(1, Ordering::Relaxed);
        let mut texts = self.texts.lock();
        if texts.len() < MOST_TEXTS {
            texts.push(text);
        }
    }

    /// How many violations there were, and the first of them.
    pub(crate) fn violations(&self) -> (u64, Vec<String>) {
        let texts = self.texts.lock().clone();
        (self.violations.load(Ordering::Relaxed), texts)
    }
}

/// The overflow policy of a topic.
pub(crate) fn policy_of(topic: usize) -> OverflowPolicy {
    OverflowPolicy::ALL[topic % OverflowPolicy::ALL.len()]
}

/// What clients did and received, counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Events received.
    pub(crate) received: u64,
    /// Gap notices, and the events that they reported.
    pub(crate) gaps: u64,
    pub(crate) reported: u64,
    /// Subscriptions with a position.
    pub(crate) resumes: u64,
    /// Notices of a takeover.
    pub(crate) takeovers: u64,
    /// Connections that the server ended, and that the client cut.
    pub(crate) disconnects: u64,
    pub(crate) cuts: u64,
    /// Subscriptions that a churning client changed.
    pub(crate) churns: u64,
    /// Messages that were refused under `block`, and not published.
    pub(crate) refused: u64,
    /// Connections of publishers that were closed by an administrator or a change of their key.
    pub(crate) withdrawals: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.received += other.received;
        self.gaps += other.gaps;
        self.reported += other.reported;
        self.resumes += other.resumes;
        self.takeovers += other.takeovers;
        self.disconnects += other.disconnects;
        self.cuts += other.cuts;
        self.churns += other.churns;
        self.refused += other.refused;
        self.withdrawals += other.withdrawals;
    }
}

/// SplitMix64: a seed decides who does what when. The threads still race.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    pub(crate) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }
}
