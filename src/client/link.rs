//! The connection that messages are published on: written by whoever publishes, read by a thread of its own, which
//! hands each answer to the one who waits for it.
//!
//! Locks: `writer` guards one half of the WebSocket and is held for one frame; `waiting` is held for one entry.
//! `waiting` and `pong` are taken under `writer`, nothing is taken under those.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use tungstenite::protocol::Role;
use tungstenite::{Bytes, Error as WsError, Message, Utf8Bytes, WebSocket};

use super::Error;
use super::dialing::{Ws, config};
use super::line::{FAREWELL, Heard, Line, goodbye, is_timeout};
use super::settings::Settings;
use super::socket::Socket;
use super::wire::{self, Frame};

/// How long the reading thread may be held up by a pong. What is left of it goes with the next message.
const PONG_PATIENCE: Duration = Duration::from_millis(1);
/// The close code for a message that is too large.
const TOO_LARGE: u16 = 1009;

#[derive(Debug)]
pub(super) struct Link {
    stream: Arc<TcpStream>,
    writer: Mutex<Ws>,
    pong: Mutex<Option<Bytes>>,
    waiting: Mutex<Waiting>,
    opened: Instant,
    /// Milliseconds after `opened` at which something was last heard.
    heard: AtomicU64,
    /// Disconnected when the reading thread has ended.
    over: Receiver<()>,
    reader: Mutex<Option<JoinHandle<()>>>,
}

/// Tells all who wait that there will be no answers.
struct TellsAll(Arc<Link>);

impl Drop for TellsAll {
    fn drop(&mut self) {
        self.0
            .waiting
            .lock()
            .end(Error::lost(None, "its reader failed"));
    }
}

/// Who waits for an answer.
#[derive(Debug, Default)]
struct Waiting {
    sent: u64,
    /// By request: how many were sent before it, and where its answer goes.
    answers: HashMap<u64, (u64, Sender<Answer>)>,
    /// Why there will be no more answers.
    end: Option<Arc<Error>>,
}

/// What became of a message.
#[derive(Debug)]
pub(super) enum Answer {
    Acked {
        seq: u64,
        ts: String,
    },
    Refused(Error),
    /// Larger than the server takes: it closed the connection over it.
    TooLarge,
    /// The connection ended first.
    Lost(Arc<Error>),
    /// It ended over a message sent before this one, which the server therefore never looked at.
    NotTaken(Arc<Error>),
    TimedOut,
}

/// Why a message was not written; the server cannot have it.
#[derive(Debug)]
pub(super) enum NotSent {
    Over(Arc<Error>),
    TooLarge,
    TimedOut,
}

/// The right to an answer.
#[derive(Debug)]
pub(super) struct Ticket {
    request: u64,
    link: Arc<Link>,
    answer: Receiver<Answer>,
    sent: Instant,
}

impl Link {
    pub(super) fn start(ws: Ws, settings: &Settings) -> Result<Arc<Link>, Error> {
        let mut line = Line::new(ws, settings.heartbeat, settings.connect_timeout);
        line.mute();
        let stream = Arc::clone(line.stream());
        let writer = Socket::new(Arc::clone(&stream));
        let (ended, over) = bounded(0);
        let link = Arc::new(Link {
            stream,
            writer: Mutex::new(WebSocket::from_raw_socket(
                writer,
                Role::Client,
                Some(config(settings).read_buffer_size(0)),
            )),
            pong: Mutex::default(),
            waiting: Mutex::default(),
            opened: Instant::now(),
            heard: AtomicU64::new(0),
            over,
            reader: Mutex::default(),
        });
        let its = Arc::clone(&link);
        let read = move || {
            // Dropped in this order, also when reading panics: whoever waits is told before it counts as over.
            let _over = (TellsAll(Arc::clone(&its)), ended);
            its.read(line);
        };
        let reader = thread::Builder::new()
            .name("client-reader".to_owned())
            .spawn(read)
            .map_err(Error::System)?;
        *link.reader.lock() = Some(reader);
        Ok(link)
    }

    pub(super) fn is_over(&self) -> bool {
        self.waiting.lock().end.is_some()
    }

    /// Writes one message whole, or not so that the server could take it.
    pub(super) fn send(
        self: &Arc<Link>,
        request: u64,
        text: &Utf8Bytes,
        deadline: Instant,
    ) -> Result<Ticket, NotSent> {
        let Some(mut writer) = self.writer.try_lock_until(deadline) else {
            return Err(NotSent::TimedOut);
        };
        let answer = self.waiting.lock().register(request)?;
        let ticket = Ticket {
            request,
            link: Arc::clone(self),
            answer,
            sent: Instant::now(),
        };
        writer.get_mut().write_until = Some(deadline);
        let written = writer.send(Message::Text(text.clone()));
        drop(writer);
        match written {
            Ok(()) => {
                self.send_pong();
                Ok(ticket)
            }
            Err(error) => Err(self.not_written(&ticket, &error)),
        }
    }

    /// A frame that was begun and not finished makes the connection useless. A server that closed it has said why.
    fn not_written(&self, ticket: &Ticket, error: &WsError) -> NotSent {
        let is_stuck = matches!(error, WsError::Io(error) if is_timeout(error.kind()));
        if is_stuck || self.over.recv_timeout(FAREWELL) != DISCONNECTED {
            self.give_up();
        }
        match ticket.try_wait() {
            _ if is_stuck => NotSent::TimedOut,
            Some(Answer::TooLarge) => NotSent::TooLarge,
            Some(Answer::Lost(end) | Answer::NotTaken(end)) => NotSent::Over(end),
            _ => NotSent::Over(Arc::new(Error::lost(None, error.to_string()))),
        }
    }

    /// Ends the connection without ceremony, and waits for its thread.
    fn give_up(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.over.recv();
    }

    /// Ends the connection in order. Takes little longer than a goodbye may, whatever the server does.
    pub(super) fn close(&self) {
        if !self.is_over() {
            if let Some(mut writer) = self.writer.try_lock_for(FAREWELL) {
                writer.get_mut().write_until = Some(Instant::now() + FAREWELL);
                let _ = writer.close(Some(goodbye()));
            }
            if self.over.recv_timeout(FAREWELL) != DISCONNECTED {
                self.give_up();
            }
        }
        if let Some(reader) = self.reader.lock().take() {
            let _ = reader.join();
        }
    }

    fn read(&self, mut line: Line) {
        let end = loop {
            match line.receive(None) {
                Ok(Heard::Text(text)) => {
                    self.note_life();
                    if let Err(error) = self.dispatch(&text) {
                        break error;
                    }
                }
                Ok(Heard::Ping(data)) => {
                    self.note_life();
                    *self.pong.lock() = Some(data);
                    self.send_pong();
                }
                Ok(Heard::Silence) => {
                    if let Some(mut writer) = self.writer.try_lock() {
                        writer.get_mut().write_until = Some(Instant::now() + PONG_PATIENCE);
                        let _ = writer.send(Message::Ping(Bytes::new()));
                    }
                }
                Ok(Heard::Pong) => self.note_life(),
                Ok(Heard::Nothing) => {}
                Err(error) => break error,
            }
        };
        if let Some(mut writer) = self.writer.try_lock() {
            writer.get_mut().write_until = Some(Instant::now() + PONG_PATIENCE);
            let _ = writer.close(None);
        }
        let _ = self.stream.shutdown(Shutdown::Both);
        self.waiting.lock().end(end);
    }

    fn note_life(&self) {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(now, Ordering::Relaxed);
    }

    fn dispatch(&self, text: &str) -> Result<(), Error> {
        let (request, answer) = match wire::parse(text)? {
            Frame::Ack(ack) => (
                ack.request_id,
                Answer::Acked {
                    seq: ack.seq,
                    ts: ack.ts.into_owned(),
                },
            ),
            Frame::Refused {
                request_id,
                code,
                message,
            } => (request_id, Answer::Refused(Error::refused(&code, &message))),
            _ => return Ok(()),
        };
        let waiting = request
            .parse()
            .ok()
            .and_then(|request: u64| self.waiting.lock().answers.remove(&request));
        if let Some((_, to)) = waiting {
            // Whoever waited may have given up.
            let _ = to.try_send(answer);
        }
        Ok(())
    }

    /// Sends the pong that is due, unless somebody is writing: then it is theirs to send when they are done. So
    /// the reading thread never waits for a writer, which may itself wait for the reading.
    fn send_pong(&self) {
        while self.pong.lock().is_some() {
            let Some(mut writer) = self.writer.try_lock() else {
                return;
            };
            let pong = self.pong.lock().take();
            if let Some(data) = pong {
                writer.get_mut().write_until = Some(Instant::now() + PONG_PATIENCE);
                let _ = writer.send(Message::Pong(data));
            }
        }
    }
}

const DISCONNECTED: Result<(), crossbeam_channel::RecvTimeoutError> =
    Err(crossbeam_channel::RecvTimeoutError::Disconnected);

fn is_too_large(end: &Error) -> bool {
    matches!(
        end,
        Error::Lost {
            close_code: Some(TOO_LARGE),
            ..
        }
    )
}

impl Waiting {
    fn register(&mut self, request: u64) -> Result<Receiver<Answer>, NotSent> {
        if let Some(end) = &self.end {
            return Err(NotSent::Over(Arc::clone(end)));
        }
        let (to, answer) = bounded(1);
        self.answers.insert(request, (self.sent, to));
        self.sent += 1;
        Ok(answer)
    }

    /// Tells everyone who waits. Answers come in the order of the requests, so of those without one it was
    /// the first that was too large, and none after it was looked at.
    fn end(&mut self, end: Error) {
        if self.end.is_some() {
            return;
        }
        let end = Arc::new(end);
        let too_large = is_too_large(&end);
        let mut left: Vec<_> = self.answers.drain().map(|(_, entry)| entry).collect();
        left.sort_unstable_by_key(|(sent, _)| *sent);
        for (place, (_, to)) in left.into_iter().enumerate() {
            let answer = match (too_large, place) {
                (true, 0) => Answer::TooLarge,
                (true, _) => Answer::NotTaken(Arc::clone(&end)),
                (false, _) => Answer::Lost(Arc::clone(&end)),
            };
            let _ = to.try_send(answer);
        }
        self.end = Some(end);
    }
}

impl Ticket {
    /// Waits for the answer.
    pub(super) fn wait(&self, deadline: Instant) -> Answer {
        match self.answer.recv_deadline(deadline) {
            Ok(answer) => answer,
            Err(_) => {
                self.suspect();
                Answer::TimedOut
            }
        }
    }

    /// The answer, if it is there.
    pub(super) fn try_wait(&self) -> Option<Answer> {
        self.answer.try_recv().ok()
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// A server from which nothing at all came since the message was sent is gone.
    fn suspect(&self) {
        let sent = self.sent.duration_since(self.link.opened).as_millis();
        if u128::from(self.link.heard.load(Ordering::Relaxed)) <= sent {
            let _ = self.link.stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.link.waiting.lock().answers.remove(&self.request);
    }
}
