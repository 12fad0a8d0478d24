//! A client of Redis: one connection, one command at a time, each with a deadline.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

/// What Redis answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Text(String),
    Number(i64),
    Nothing,
    List(Vec<Answer>),
}

impl Answer {
    pub(crate) fn number(&self) -> i64 {
        match self {
            Answer::Number(number) => *number,
            other => panic!("no number: {other:?}"),
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Answer::Text(text) => text,
            other => panic!("no text: {other:?}"),
        }
    }

    /// The texts of a list.
    pub(crate) fn texts(&self) -> Vec<String> {
        match self {
            Answer::List(items) => items.iter().map(|item| item.text().to_owned()).collect(),
            other => panic!("no list: {other:?}"),
        }
    }
}

/// One connection to Redis.
pub(super) struct RespClient(BufReader<TcpStream>);

impl RespClient {
    /// The answer to a command, on a connection of its own.
    pub(super) fn ask(addr: SocketAddr, password: Option<&str>, words: &[&str]) -> Result<Answer> {
        let mut client = RespClient::connect(addr)?;
        if let Some(password) = password {
            client.command(&["AUTH", password])?;
        }
        client.command(words)
    }

    fn connect(addr: SocketAddr) -> Result<RespClient> {
        let stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(RespClient(BufReader::new(stream)))
    }

    /// Sends a command and reads its answer; an error of Redis is an error with its text.
    fn command(&mut self, words: &[&str]) -> Result<Answer> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.0.get_mut().write_all(request.as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Answer> {
        let line = self.line()?;
        let (kind, rest) = line.split_at(line.len().min(1));
        match kind {
            "+" => Ok(Answer::Text(rest.to_owned())),
            "-" => Err(Error::other(rest.to_owned())),
            ":" => Ok(Answer::Number(number(rest)?)),
            "$" => self.bulk(number(rest)?),
            "*" => self.list(number(rest)?),
            _ => Err(unexpected(&line)),
        }
    }

    fn bulk(&mut self, length: i64) -> Result<Answer> {
        let Ok(length) = usize::try_from(length) else {
            return Ok(Answer::Nothing);
        };
        let mut bytes = vec![0; length + 2];
        self.0.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(Answer::Text(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn list(&mut self, length: i64) -> Result<Answer> {
        let items = (0..length).map(|_| self.answer());
        items.collect::<Result<_>>().map(Answer::List)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

fn number(text: &str) -> Result<i64> {
    text.parse().map_err(|_| unexpected(text))
}

fn unexpected(text: &str) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!("unexpected answer {text:?}"),
    )
}
