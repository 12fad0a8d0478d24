//! A subscriber that reads all the time and accounts for every event. It can resume on another node, by order or by itself.
//!
//! Its thread only reads, so that its socket takes everything also on a busy machine. What it has read is checked when the test looks, and
//! before a resume.

use std::io::{Error, ErrorKind, Result as IoResult};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use threadcast::load::{Connection, Incoming};

use super::{Account, DELIVERY_LIMIT, Homes, Node, SLACK, within};
use crate::harness::code_of;
use crate::harness::contract::check_frame;

const POLL: Duration = Duration::from_millis(20);
const REPLY_LIMIT: Duration = Duration::from_secs(5);

/// Refusals after which a subscriber tries again.
const PASSING: [&str; 3] = ["UNAVAILABLE", "SHUTTING_DOWN", "TOPIC_NOT_FOUND"];

/// A subscription, and the thread that reads it.
pub(crate) struct Follower {
    pub(crate) client_id: String,
    shared: Arc<Shared>,
    orders: Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// What was read and not checked yet. Its lock is held for a moment only.
    inbox: Mutex<Vec<String>>,
    books: Mutex<Books>,
}

struct Books {
    account: Account,
    connected: bool,
    violations: Vec<String>,
}

enum Order {
    Resume(SocketAddr),
    Reset,
}

impl Follower {
    /// Subscribes from now on. When its connection ends, it stays where it is until the test says [`Follower::resume_on`].
    pub(crate) fn start(node: &Node, topic: &str, client_id: &str) -> Follower {
        Follower::at(node.addr(), topic, client_id, None)
    }

    /// Subscribes from now on, and resumes by itself on the nodes of `homes`.
    pub(crate) fn roaming(homes: &Homes, first: usize, topic: &str, client_id: &str) -> Follower {
        let addr = homes.pick(first).expect("a node");
        Follower::at(addr, topic, client_id, Some((homes.clone(), first)))
    }

    pub(crate) fn at(
        addr: SocketAddr,
        topic: &str,
        client_id: &str,
        homes: Option<(Homes, usize)>,
    ) -> Follower {
        let request = json!({
            "type": "subscribe", "topic": topic, "client_id": client_id, "request_id": "start",
        });
        let answered = ask_first(addr, &request);
        let (connection, ack) = answered.unwrap_or_else(|error| panic!("{client_id}: {error}"));
        assert_eq!(ack["type"], "ack", "{client_id}: {ack}");
        let shared = Arc::new(Shared {
            inbox: Mutex::default(),
            books: Mutex::new(Books {
                account: Account::from_ack(topic, &ack),
                connected: true,
                violations: Vec::new(),
            }),
        });
        let (orders, received) = channel();
        let reader = Reader {
            connection: Some(connection),
            shared: Arc::clone(&shared),
            topic: topic.to_owned(),
            client_id: client_id.to_owned(),
            orders: received,
            homes,
        };
        Follower {
            client_id: client_id.to_owned(),
            shared,
            orders,
            thread: Some(thread::spawn(move || reader.run())),
        }
    }

    /// Its account so far, which must have no error.
    #[track_caller]
    pub(crate) fn account(&self) -> Account {
        self.look(Account::clone)
    }

    /// What `look` sees in its account, which must have no error.
    #[track_caller]
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Account) -> T) -> T {
        let books = self.shared.checked();
        let (violations, seen) = (books.violations.clone(), look(&books.account));
        drop(books);
        assert!(violations.is_empty(), "{}: {violations:#?}", self.client_id);
        let ended = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
        assert!(!ended, "{}: its thread has panicked", self.client_id);
        seen
    }

    /// The last seq that was received or reported.
    #[track_caller]
    pub(crate) fn position(&self) -> u64 {
        self.look(Account::position)
    }

    /// Waits until `condition` holds of its account, which must have no error.
    #[track_caller]
    pub(crate) fn await_account(
        &self,
        limit: Duration,
        what: &str,
        condition: impl Fn(&Account) -> bool,
    ) {
        let start = Instant::now();
        while !self.look(&condition) {
            assert!(
                start.elapsed() < limit + SLACK,
                "{}: not within {limit:?}: {what}; {}",
                self.client_id,
                self.look(Account::summary)
            );
            thread::park_timeout(POLL / 4);
        }
    }

    /// Waits until everything up to `seq` was received or reported.
    #[track_caller]
    pub(crate) fn await_position(&self, seq: u64) {
        let what = format!("everything up to {seq}");
        self.await_account(DELIVERY_LIMIT, &what, |account| account.position() >= seq);
    }

    /// Waits until everything up to `seq` was received, none of it skipped.
    #[track_caller]
    pub(crate) fn expect_whole(&self, seq: u64) {
        self.await_position(seq);
        let account = self.account();
        account
            .check_complete(account.epoch(), seq)
            .unwrap_or_else(|error| panic!("{}: {error}", self.client_id));
        assert_eq!(account.skipped, 0, "{}: {:?}", self.client_id, account.gaps);
        assert_eq!(account.epoch_changes, 0, "{}", self.client_id);
    }

    /// Waits until its epoch has changed; returns the new one.
    #[track_caller]
    pub(crate) fn await_epoch_other_than(&self, old: &str) -> String {
        let what = format!("another epoch than {old}");
        self.await_account(DELIVERY_LIMIT, &what, |account| account.epoch() != old);
        self.account().epoch().to_owned()
    }

    /// Waits until its subscription has ended for this reason.
    #[track_caller]
    pub(crate) fn await_end(&self, reason: &str) {
        self.await_account(DELIVERY_LIMIT, reason, |account| {
            account.end.as_deref() == Some(reason)
        });
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.shared.books().connected
    }

    /// Waits until its connection has ended.
    pub(crate) fn await_cut(&self) {
        within(DELIVERY_LIMIT, "the connection ends", || {
            !self.is_connected()
        });
    }

    /// Leaves its connection, if it is open, and resumes at its position on this node.
    pub(crate) fn resume_on(&self, node: &Node) {
        self.resume_at(node.addr());
    }

    pub(crate) fn resume_at(&self, addr: SocketAddr) {
        self.reset();
        let sent = self.orders.send(Order::Resume(addr));
        sent.expect("the thread runs");
        within(DELIVERY_LIMIT, "the subscription is resumed", || {
            self.is_connected()
        });
    }

    /// Ends its connection with a TCP reset.
    pub(crate) fn reset(&self) {
        self.orders.send(Order::Reset).expect("the thread runs");
        self.await_cut();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.orders = channel().0;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Vec<String>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The books with everything that was read.
    fn checked(&self) -> MutexGuard<'_, Books> {
        let mut books = self.books();
        let texts = std::mem::take(&mut *self.inbox());
        texts.iter().for_each(|text| books.take(text));
        books
    }
}

impl Books {
    fn take(&mut self, text: &str) {
        // Payloads that no `Value` can hold are left out.
        let message = check_frame(text);
        let (position, epoch) = (self.account.position(), self.account.epoch().to_owned());
        if let Err(error) = self.account.take(&message) {
            let text: String = text.chars().take(400).collect();
            let violation = format!("after {position} of {epoch}: {error}: {text}");
            self.violations.push(violation);
        }
    }

    fn violation(&mut self, what: String) {
        self.violations.push(what);
    }
}

struct Reader {
    connection: Option<Connection>,
    shared: Arc<Shared>,
    topic: String,
    client_id: String,
    orders: Receiver<Order>,
    /// Where it resumes by itself, and the number of its next attempt.
    homes: Option<(Homes, usize)>,
}

impl Reader {
    fn run(mut self) {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Resume(addr)) => self.try_resume(addr),
                Ok(Order::Reset) => self.disconnect(),
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => self.read(),
            }
        }
    }

    fn read(&mut self) {
        let Some(connection) = &mut self.connection else {
            thread::park_timeout(POLL);
            return self.roam();
        };
        match connection.read_text() {
            Incoming::Text(text) => {
                let text = String::from_utf8(text.to_vec()).expect("text is UTF-8");
                self.shared.inbox().push(text);
            }
            Incoming::Idle => {}
            Incoming::Closed(_) => self.disconnect(),
        }
    }

    fn roam(&mut self) {
        let has_ended = self.shared.checked().account.end.is_some();
        let Some((homes, attempt)) = &mut self.homes else {
            return;
        };
        *attempt += 1;
        if let Some(addr) = homes.pick(*attempt).filter(|_| !has_ended) {
            self.try_resume(addr);
        }
    }

    fn try_resume(&mut self, addr: SocketAddr) {
        let (after_seq, epoch) = {
            let books = self.shared.checked();
            (books.account.position(), books.account.epoch().to_owned())
        };
        let request = json!({
            "type": "subscribe", "topic": self.topic, "client_id": self.client_id,
            "after_seq": after_seq, "epoch": epoch, "request_id": "resume",
        });
        let answered = ask_first(addr, &request);
        let mut books = self.shared.books();
        let (connection, reply) = match answered {
            Ok(answered) => answered,
            Err(_) if self.homes.is_some() => return,
            Err(error) => return books.violation(format!("a resume: {error}")),
        };
        if reply["type"] != "ack" {
            if !PASSING.contains(&code_of(&reply)) || self.homes.is_none() {
                books.violation(format!("a resume: {reply}"));
            }
            return;
        }
        self.connection = Some(connection);
        books.connected = true;
        if let Err(error) = books.account.resume(&reply) {
            let what = format!("a resume after {after_seq} of {epoch}: {error}: {reply}");
            books.violation(what);
        }
    }

    fn disconnect(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.cut();
        }
        self.shared.books().connected = false;
    }
}

/// Connects, sends a request, and reads its reply, which comes first.
fn ask_first(addr: SocketAddr, request: &Value) -> IoResult<(Connection, Value)> {
    let mut connection = Connection::open(addr, None)?;
    connection.set_idle_time(REPLY_LIMIT)?;
    connection.upgrade("/ws", None).map_err(Error::other)?;
    connection.add_text(request.to_string().as_bytes());
    connection.send()?;
    let reply = match connection.read_text() {
        Incoming::Text(text) => check_frame(std::str::from_utf8(text).expect("text is UTF-8")),
        Incoming::Idle => return Err(Error::new(ErrorKind::TimedOut, "no reply")),
        Incoming::Closed(code) => return Err(Error::other(format!("closed with {code:?}"))),
    };
    connection.set_idle_time(POLL)?;
    Ok((connection, reply))
}
