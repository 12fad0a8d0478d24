//! Someone with a name and a connection, who prints every word said and heard.

use std::time::Duration;

use serde_json::Value;

use super::shared::rest;
use super::shared::{Connection, Failure, Received, ServerAddress};

/// No answer takes this long; the tour fails rather than hangs.
const DEADLINE: Duration = Duration::from_secs(20);

/// Longer texts are printed shortened.
const PRINTED_CHARS: usize = 400;

/// A WebSocket client of the tour.
#[derive(Debug)]
pub(crate) struct Visitor {
    name: &'static str,
    connection: Connection,
}

impl Visitor {
    /// Connects to `/ws`.
    pub(crate) fn arrive(name: &'static str, server: &ServerAddress) -> Result<Self, Failure> {
        let connection = Connection::open(server, Some(DEADLINE))?;
        Ok(Visitor { name, connection })
    }

    /// Sends one frame.
    pub(crate) fn say(&mut self, frame: &str) -> Result<(), Failure> {
        println!("  {} → {}", self.name, shortened(frame));
        self.say_quietly(frame)
    }

    /// Sends one frame without printing it.
    pub(crate) fn say_quietly(&mut self, frame: &str) -> Result<(), Failure> {
        self.connection.send(frame)
    }

    /// Waits for one frame.
    pub(crate) fn hear(&mut self) -> Result<Value, Failure> {
        let (frame, text) = self.hear_quietly()?;
        println!("  {} ← {}", self.name, shortened(&text));
        Ok(frame)
    }

    /// Waits for one frame and leaves it to the caller whether it is printed.
    pub(crate) fn hear_quietly(&mut self) -> Result<(Value, String), Failure> {
        match self.connection.receive()? {
            Received::Text(text) => Ok((serde_json::from_str(&text)?, text)),
            Received::Closed { code, reason } => {
                Err(format!("{} was closed: {code} {reason}", self.name).into())
            }
        }
    }

    /// Sends one frame and waits for the next one to come.
    pub(crate) fn ask(&mut self, frame: &str) -> Result<Value, Failure> {
        self.say(frame)?;
        self.hear()
    }

    /// Listens until the server closes; returns what was heard, and the close code.
    pub(crate) fn hear_out(mut self) -> Result<(Vec<Value>, u16), Failure> {
        let mut heard = Vec::new();
        loop {
            match self.connection.receive()? {
                Received::Text(text) => {
                    println!("  {} ← {}", self.name, shortened(&text));
                    heard.push(serde_json::from_str(&text)?);
                }
                Received::Closed { code, reason } => {
                    println!("  {} ← close {code} {reason}", self.name);
                    return Ok((heard, code));
                }
            }
        }
    }

    /// Leaves as if the network had failed.
    pub(crate) fn cut(self) -> Result<(), Failure> {
        println!("  {} ✂ the connection is cut", self.name);
        self.connection.cut()
    }
}

/// One REST request, printed with its answer.
pub(crate) fn rest(
    server: &ServerAddress,
    method: &str,
    path: &str,
    body: Option<&str>,
) -> Result<(u16, Value), Failure> {
    let sent = format!("{method} {path} {}", body.unwrap_or_default());
    println!("  → {}", sent.trim_end());
    let reply = rest::request(server, method, path, body)?;
    println!("  ← {} {}", reply.status, shortened(&reply.text));
    Ok((reply.status, reply.body))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(PRINTED_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
    }
}
