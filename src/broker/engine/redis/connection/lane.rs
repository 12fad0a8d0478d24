//! A lane: one connection to Redis for commands, shared by group commit.

use std::time::{Duration, Instant};

use ::redis::{Cmd, Connection, Value, cmd};
use crossbeam_channel::Sender;
use parking_lot::Mutex;

use super::failure::{self, Failure};
use super::group_commit::GroupCommit;
use super::keeper::Event;
use crate::broker::engine::Unavailable;
use crate::broker::engine::redis::{metrics::EngineMetrics, scripts};
use crate::sync::{Arc, AtomicU64, Ordering};

/// How long Redis may take for an answer.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_millis(900);
/// The most commands that are sent in one exchange when there are many.
pub(crate) const MAX_COMMANDS: usize = 500;
/// A connection that was not used for so long may have been closed meanwhile: it is asked before it is used.
const IDLE: Duration = Duration::from_secs(1);
/// How long Redis may take to answer that question.
const IDLE_TIMEOUT: Duration = Duration::from_millis(500);

type Answers = Result<Vec<Value>, Unavailable>;

pub(crate) struct Lane {
    group: GroupCommit<Call, Answers>,
    /// Held for an exchange.
    open: Mutex<Option<Open>>,
    /// How often a connection was opened.
    opened: AtomicU64,
    events: Sender<Event>,
    failure: Arc<Failure>,
    metrics: Arc<EngineMetrics>,
}

/// A connection that works, as far as is known.
struct Open {
    connection: Connection,
    reopen: Box<Reopen>,
    last_used: Instant,
}

/// Opens a connection to the same Redis. The error is one line for people.
pub(crate) type Reopen = dyn Fn() -> Result<Connection, String> + Send;

/// Packed commands, and how many they are.
struct Call {
    bytes: Vec<u8>,
    commands: usize,
}

impl Lane {
    pub(crate) fn new(
        events: Sender<Event>,
        failure: &Arc<Failure>,
        metrics: &Arc<EngineMetrics>,
    ) -> Lane {
        Lane {
            group: GroupCommit::new(),
            open: Mutex::new(None),
            opened: AtomicU64::new(0),
            events,
            failure: Arc::clone(failure),
            metrics: Arc::clone(metrics),
        }
    }

    pub(crate) fn open(&self, connection: Connection, reopen: Box<Reopen>) {
        *self.open.lock() = Some(Open {
            connection,
            reopen,
            last_used: Instant::now(),
        });
        self.opened.fetch_add(1, Ordering::SeqCst);
    }

    /// How often the keeper has connected.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::SeqCst)
    }

    pub(crate) fn close(&self) {
        *self.open.lock() = None;
    }

    /// Replaces a connection that was closed, or cut silently, while nobody used it.
    pub(crate) fn check(&self) {
        let mut held = self.open.lock();
        if let Some(open) = held.as_mut()
            && let Err(reason) = open.replace_if_closed()
        {
            self.failed(&mut held, reason);
        }
    }

    /// Sends the commands in one go, perhaps together with those of other threads, and returns their answers.
    pub(crate) fn call(&self, commands: &[Cmd]) -> Answers {
        let answers = self.call_each(commands)?;
        match answers.iter().any(failure::is_full) {
            true => Err(Unavailable),
            false => Ok(answers),
        }
    }

    /// Like [`Lane::call`], but what Redis did not carry out because it is full has an error as its answer, and the others
    /// have theirs.
    pub(crate) fn call_each(&self, commands: &[Cmd]) -> Answers {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut answers = self.call_once(commands)?;
        let is_missing = |answer: &Value| failure::has_code(answer, "NOSCRIPT");
        if answers.iter().any(is_missing) {
            // Somebody has removed the scripts. These commands did nothing.
            self.load_scripts();
            for (answer, command) in answers.iter_mut().zip(commands) {
                if is_missing(answer) {
                    *answer = self
                        .call_once(std::slice::from_ref(command))?
                        .swap_remove(0);
                }
            }
        }
        Ok(answers)
    }

    /// Like [`Lane::call`], for any number of commands: in as many exchanges as they need.
    pub(crate) fn call_all(&self, commands: &[Cmd]) -> Answers {
        let mut answers = Vec::with_capacity(commands.len());
        for some in commands.chunks(MAX_COMMANDS) {
            answers.extend(self.call(some)?);
        }
        Ok(answers)
    }

    /// Like [`Lane::call`], for one command.
    pub(crate) fn one(&self, command: Cmd) -> Result<Value, Unavailable> {
        let mut answers = self.call(&[command])?;
        answers.pop().ok_or(Unavailable)
    }

    fn call_once(&self, commands: &[Cmd]) -> Answers {
        let mut bytes = Vec::new();
        for command in commands {
            command.write_packed_command(&mut bytes);
        }
        let commands = commands.len();
        let answered = self
            .group
            .run(Call { bytes, commands }, |calls| self.carry_out(&calls));
        answered.unwrap_or(Err(Unavailable))
    }

    fn carry_out(&self, calls: &[Call]) -> Vec<Answers> {
        let mut held = self.open.lock();
        let none = || calls.iter().map(|_| Err(Unavailable)).collect();
        let (answers, failed) = match held.as_mut() {
            None => (none(), None),
            Some(open) => match open.check_if_idle() {
                Err(reason) => (none(), Some(reason)),
                Ok(()) => {
                    let began = Instant::now();
                    let exchanged = exchange(&mut open.connection, calls);
                    self.metrics.called(began.elapsed());
                    open.last_used = Instant::now();
                    exchanged
                }
            },
        };
        let mut all = answers.iter().flatten().flatten();
        if let Some(reason) = all.clone().find_map(failure::of_answer).or(failed) {
            self.failed(&mut held, reason);
        }
        if all.any(failure::is_full) {
            self.failure.note_full();
        }
        drop(held);
        answers.into_iter().map(answered).collect()
    }

    /// Closes a connection that is of no use any more, and lets the keeper connect again.
    fn failed(&self, open: &mut Option<Open>, reason: String) {
        *open = None;
        self.failure.note(reason);
        let _ = self.events.send(Event::Failed);
    }

    fn load_scripts(&self) {
        if let Some(open) = self.open.lock().as_mut()
            && let Err(error) = scripts::load(&mut open.connection)
        {
            tracing::warn!(%error, "the scripts could not be loaded into Redis");
        }
    }
}

impl Open {
    /// Called before anything is written. What is written next is certain not to have been taken by Redis before.
    fn check_if_idle(&mut self) -> Result<(), String> {
        match self.last_used.elapsed() < IDLE {
            true => Ok(()),
            false => self.replace_if_closed(),
        }
    }

    /// Asks whether the connection lives, and opens another one if not. The error is one line for people.
    fn replace_if_closed(&mut self) -> Result<(), String> {
        if self.lives() {
            return Ok(());
        }
        self.connection = (self.reopen)()?;
        tracing::debug!("an idle connection to Redis was closed; there is a new one");
        Ok(())
    }

    fn lives(&mut self) -> bool {
        let connection = &mut self.connection;
        let mut ping = || {
            connection.set_read_timeout(Some(IDLE_TIMEOUT))?;
            cmd("PING").query::<Value>(connection)?;
            connection.set_read_timeout(Some(COMMAND_TIMEOUT))
        };
        ping().is_ok()
    }
}

/// Sends all calls, then reads the answers. After an error none of the following is read; then it returns the reason, too.
fn exchange(connection: &mut Connection, calls: &[Call]) -> (Vec<Answers>, Option<String>) {
    let sent = match calls {
        [call] => connection.send_packed_command(&call.bytes),
        _ => connection.send_packed_command(
            &calls
                .iter()
                .flat_map(|call| &call.bytes)
                .copied()
                .collect::<Vec<u8>>(),
        ),
    };
    let mut failed = sent.err();
    let mut read = |call: &Call| {
        if failed.is_some() {
            return Err(Unavailable);
        }
        let answers = (0..call.commands).map(|_| connection.recv_response());
        let answers: Result<Vec<_>, _> = answers.collect();
        answers.map_err(|error| {
            failed = Some(error);
            Unavailable
        })
    };
    let answers = calls.iter().map(&mut read).collect();
    (answers, failed.as_ref().map(failure::of_connection))
}

/// An answer that says that Redis is away is no answer.
fn answered(answer: Answers) -> Answers {
    let answers = answer?;
    // Then it also refuses the end of a transaction.
    let is_full = answers.iter().any(failure::is_full);
    for answer in &answers {
        if failure::of_answer(answer).is_some() {
            return Err(Unavailable);
        }
        if let Value::ServerError(error) = answer
            && error.code() != "NOSCRIPT"
            && !is_full
        {
            tracing::error!(
                code = error.code(),
                details = error.details(),
                "Redis refused a command"
            );
        }
    }
    Ok(answers)
}

/// The texts of an array of texts and numbers; nothing for anything else.
pub(crate) fn texts(answer: &Value) -> Vec<String> {
    match answer {
        Value::Array(values) => values.iter().map(text).collect(),
        Value::Nil | Value::ServerError(_) => Vec::new(),
        value => vec![text(value)],
    }
}

/// A text or number; empty for anything else.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::Okay => "OK".to_owned(),
        _ => String::new(),
    }
}
