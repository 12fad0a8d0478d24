//! One REST request on a connection of its own: sent, answered, closed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::{Failure, ServerAddress};

/// How long the server may take for one read or write.
const DEADLINE: Duration = Duration::from_secs(30);

/// A status with its JSON body, as a value and as it came; `Value::Null` when the body is empty.
#[derive(Debug)]
pub(crate) struct RestReply {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) text: String,
}

/// Sends `method path`, with `body` as JSON text if there is one, and reads the whole answer.
pub(crate) fn request(
    server: &ServerAddress,
    method: &str,
    path: &str,
    body: Option<&str>,
) -> Result<RestReply, Failure> {
    let mut stream = TcpStream::connect(server.authority())
        .map_err(|error| format!("cannot connect to {server}: {error}"))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.write_all(encode(server, method, path, body).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    decode(&answer)
}

fn encode(server: &ServerAddress, method: &str, path: &str, body: Option<&str>) -> String {
    let host = server.authority();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    match body {
        None => format!("{head}\r\n"),
        Some(json) => format!(
            "{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
            json.len()
        ),
    }
}

fn decode(answer: &str) -> Result<RestReply, Failure> {
    let (head, text) = answer
        .split_once("\r\n\r\n")
        .ok_or("the server closed the connection before it answered")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or("the answer is not HTTP")?;
    let body = match text {
        "" => Value::Null,
        json => serde_json::from_str(json)?,
    };
    Ok(RestReply {
        status,
        body,
        text: text.to_owned(),
    })
}
