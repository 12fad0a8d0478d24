//! A lane: one connection to Redis for commands, shared by group commit.

use std::time::{Duration, Instant};

use ::redis::{Cmd, Connection, Value};
use crossbeam_channel::Sender;
use parking_lot::Mutex;

use super::group_commit::GroupCommit;
use super::keeper::Event;
use super::scripts;
use crate::broker::engine::Unavailable;
use crate::broker::engine::redis::metrics::EngineMetrics;
use crate::sync::Arc;

/// How long Redis may take for an answer.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_millis(900);
/// The most commands that are sent in one exchange when there are many.
pub(super) const MAX_COMMANDS: usize = 500;
/// What Redis answers when it cannot do what it is for: these count as if it were away.
const AWAY: [&str; 9] = [
    "OOM",
    "READONLY",
    "MISCONF",
    "LOADING",
    "NOAUTH",
    "NOREPLICAS",
    "MASTERDOWN",
    "NOPERM",
    "WRONGPASS",
];

pub(super) struct Lane {
    group: GroupCommit<Call, Result<Vec<Value>, Unavailable>>,
    connection: Mutex<Option<Connection>>,
    events: Sender<Event>,
    metrics: Arc<EngineMetrics>,
}

/// Packed commands, and how many they are.
struct Call {
    bytes: Vec<u8>,
    commands: usize,
}

impl Lane {
    pub(super) fn new(events: Sender<Event>, metrics: &Arc<EngineMetrics>) -> Lane {
        Lane {
            group: GroupCommit::new(),
            connection: Mutex::new(None),
            events,
            metrics: Arc::clone(metrics),
        }
    }

    pub(super) fn open(&self, connection: Connection) {
        *self.connection.lock() = Some(connection);
    }

    pub(super) fn close(&self) {
        *self.connection.lock() = None;
    }

    /// Sends the commands in one go, perhaps together with those of other threads, and returns their answers.
    pub(super) fn call(&self, commands: &[Cmd]) -> Result<Vec<Value>, Unavailable> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut answers = self.call_once(commands)?;
        let is_missing = |answer: &Value| has_code(answer, &["NOSCRIPT"]);
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
    pub(super) fn call_all(&self, commands: &[Cmd]) -> Result<Vec<Value>, Unavailable> {
        let mut answers = Vec::with_capacity(commands.len());
        for some in commands.chunks(MAX_COMMANDS) {
            answers.extend(self.call(some)?);
        }
        Ok(answers)
    }

    /// Like [`Lane::call`], for one command.
    pub(super) fn one(&self, command: Cmd) -> Result<Value, Unavailable> {
        let mut answers = self.call(&[command])?;
        answers.pop().ok_or(Unavailable)
    }

    fn call_once(&self, commands: &[Cmd]) -> Result<Vec<Value>, Unavailable> {
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

    fn carry_out(&self, calls: &[Call]) -> Vec<Result<Vec<Value>, Unavailable>> {
        let mut held = self.connection.lock();
        let Some(connection) = held.as_mut() else {
            return calls.iter().map(|_| Err(Unavailable)).collect();
        };
        let began = Instant::now();
        let answers = exchange(connection, calls);
        self.metrics.called(began.elapsed());
        let is_away = |answer: &Result<Vec<Value>, Unavailable>| match answer {
            Ok(answers) => answers.iter().any(|answer| has_code(answer, &AWAY)),
            Err(Unavailable) => true,
        };
        if answers.iter().any(is_away) {
            *held = None;
            let _ = self.events.send(Event::Failed);
        }
        answers.into_iter().map(answered).collect()
    }

    fn load_scripts(&self) {
        if let Some(connection) = self.connection.lock().as_mut()
            && let Err(error) = scripts::load(connection)
        {
            tracing::warn!(%error, "the scripts could not be loaded into Redis");
        }
    }
}

/// Sends all calls, then reads the answers. After an error none of the following is read.
fn exchange(connection: &mut Connection, calls: &[Call]) -> Vec<Result<Vec<Value>, Unavailable>> {
    let bytes = match calls {
        [call] => connection.send_packed_command(&call.bytes),
        _ => connection.send_packed_command(
            &calls
                .iter()
                .flat_map(|call| &call.bytes)
                .copied()
                .collect::<Vec<u8>>(),
        ),
    };
    let mut is_broken = bytes.is_err();
    let mut read = |call: &Call| {
        if is_broken {
            return Err(Unavailable);
        }
        let answers = (0..call.commands).map(|_| connection.recv_response());
        let answers: Result<Vec<_>, _> = answers.collect();
        is_broken = answers.is_err();
        answers.map_err(|_| Unavailable)
    };
    calls.iter().map(&mut read).collect()
}

/// An answer that says that Redis is away is no answer.
fn answered(answer: Result<Vec<Value>, Unavailable>) -> Result<Vec<Value>, Unavailable> {
    let answers = answer?;
    for answer in &answers {
        if has_code(answer, &AWAY) {
            return Err(Unavailable);
        }
        if let Value::ServerError(error) = answer
            && error.code() != "NOSCRIPT"
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

pub(super) fn has_code(answer: &Value, codes: &[&str]) -> bool {
    match answer {
        Value::ServerError(error) => {
            // An error inside of a script has the code in its text, too.
            let details = error.details().unwrap_or_default();
            codes
                .iter()
                .any(|code| error.code() == *code || details.contains(&format!("-{code} ")))
        }
        _ => false,
    }
}

/// The texts of an array of texts and numbers; nothing for anything else.
pub(super) fn texts(answer: &Value) -> Vec<String> {
    match answer {
        Value::Array(values) => values.iter().map(text).collect(),
        Value::Nil | Value::ServerError(_) => Vec::new(),
        value => vec![text(value)],
    }
}

/// A text or number; empty for anything else.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::Okay => "OK".to_owned(),
        _ => String::new(),
    }
}
