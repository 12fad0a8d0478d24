//! Gives the fuzz targets (`fuzz/`) access to private parsers. Compiled only with `cfg(fuzzing)`.
//!
//! Returns plain data and asserts nothing: the targets do.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, EncodingKey};

use crate::access::{Digest, Guard, JwtSecret, Principal, TokenSettings, Verifier};
use crate::protocol::{
    self, ClientId, Message, PatternStart, Position, RequestId, StartAt, Timestamp, TopicFilter,
    TopicName,
};
use crate::server::body::ChunkedDecoder;
use crate::server::fields::BodyLength;
use crate::server::request_line::Version;
use crate::server::scan::HeadScanner;
use crate::server::{Header, Route, TrustedProxies, decode_proxy_header, head, target};

/// The status of a refused HTTP request.
pub type Status = u16;

/// Finds the end of a head in a growing buffer.
#[derive(Debug, Default)]
pub struct Scanner(HeadScanner);

impl Scanner {
    /// The length of the head, once it is complete.
    ///
    /// # Errors
    /// The status of the refusal.
    pub fn advance(&mut self, buffer: &[u8]) -> Result<Option<usize>, Status> {
        self.0.advance(buffer).map_err(|problem| problem.status)
    }
}

/// An accepted head.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// As sent.
    pub method: String,
    /// Still percent-encoded.
    pub path: String,
    /// Still percent-encoded.
    pub query: Option<String>,
    /// `false` is HTTP/1.0.
    pub is_http_1_1: bool,
    /// Names in lower case, values as Latin-1.
    pub fields: Vec<(String, String)>,
    /// How the body is delimited.
    pub body: Body,
    /// Whether another request may follow.
    pub keep_alive: bool,
    /// Whether it asks for the WebSocket.
    pub is_websocket: bool,
}

/// How the body of a request is delimited.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// No body.
    None,
    /// By `Content-Length`.
    Bytes(u64),
    /// By chunks.
    Chunked,
}

/// Parses the head at the start of a buffer; `None` while it is incomplete.
///
/// # Errors
/// The status of the refusal.
pub fn head(buffer: &[u8]) -> Result<Option<(Head, usize)>, Status> {
    let parsed = head::parse(buffer).map_err(|problem| problem.status)?;
    Ok(parsed.map(|(head, length)| {
        let is_websocket = Route::of(&head) == Route::WebSocket;
        let head = Head {
            method: head.method,
            path: head.path,
            query: head.query,
            is_http_1_1: head.version == Version::Http11,
            fields: head.headers,
            body: match head.body {
                BodyLength::None => Body::None,
                BodyLength::Bytes(bytes) => Body::Bytes(bytes),
                BodyLength::Chunked => Body::Chunked,
            },
            keep_alive: head.keep_alive,
            is_websocket,
        };
        (head, length)
    }))
}

/// Decodes a chunked body incrementally.
#[derive(Debug)]
pub struct Chunked(ChunkedDecoder);

impl Chunked {
    /// A decoder of a body of at most this many bytes.
    pub fn new(max_body_bytes: usize) -> Chunked {
        Chunked(ChunkedDecoder::new(max_body_bytes))
    }

    /// Appends the part of the body in `input`, and returns how much of `input` belonged to it.
    ///
    /// # Errors
    /// The status of the refusal.
    pub fn decode(&mut self, input: &[u8], body: &mut Vec<u8>) -> Result<usize, Status> {
        let decoded = self.0.decode(input, body);
        decoded.map_err(|problem| problem.status)
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        self.0.is_done()
    }
}

/// The decoded segments of a path; `None` if it is malformed.
pub fn segments(path: &str) -> Option<Vec<String>> {
    target::segments(path).ok()
}

/// The decoded pairs of a query; `None` if it is malformed.
pub fn query_pairs(query: &str) -> Option<Vec<(String, String)>> {
    target::query_pairs(query).ok()
}

/// Text without its percent-encoding; `None` if it is malformed.
pub fn decode_text(text: &str) -> Option<String> {
    target::decode_text(text).ok()
}

/// What the begin of a PROXY header is.
#[derive(Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// At least this number of bytes more belong to it.
    Needs(usize),
    /// It names this client, or none.
    Complete(Option<SocketAddr>),
}

/// Decodes the begin of a PROXY header; `None` if it is malformed.
pub fn proxy_header(received: &[u8]) -> Option<ProxyHeader> {
    decode_proxy_header(received)
        .ok()
        .map(|header| match header {
            Header::Needs(bytes) => ProxyHeader::Needs(bytes),
            Header::Complete(client) => ProxyHeader::Complete(client),
        })
}

/// The client of a request that `peer` passed on with these `X-Forwarded-For` fields; `None` if one of the proxies is neither an
/// address nor a network.
pub fn client_of(proxies: &[&str], peer: SocketAddr, forwarded: &[&str]) -> Option<String> {
    let proxies = TrustedProxies::parse(proxies.iter().copied())?;
    let client = proxies.client_of(peer.into(), forwarded.iter().copied());
    Some(client.to_string())
}

/// Whether a text is a valid topic name.
pub fn is_topic_name(text: &str) -> bool {
    TopicName::new(text).is_ok()
}

/// Whether a text is a valid client id.
pub fn is_client_id(text: &str) -> bool {
    ClientId::new(text).is_ok()
}

/// Whether a text is a valid request id.
pub fn is_request_id(text: &str) -> bool {
    RequestId::new(Cow::Borrowed(text)).is_ok()
}

/// Whether a topic filter matches this topic; `None` if the text is no filter.
pub fn filter_matches(filter: &str, topic: &str) -> Option<bool> {
    TopicFilter::parse(filter)
        .ok()
        .map(|filter| filter.matches(topic))
}

/// An accepted request.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// A subscribe.
    Subscribe {
        /// The topic or the pattern.
        topic: String,
        /// The client.
        client_id: String,
        /// The newest n events.
        last_n: u64,
        /// Or the events after a position, with an epoch if given.
        after: Option<(u64, Option<String>)>,
        /// Or, of a pattern, the events after these positions.
        positions: Option<BTreeMap<String, (u64, String)>>,
        /// Whether the client hears who else is subscribed.
        presence: bool,
    },
    /// An unsubscribe.
    Unsubscribe {
        /// The topic.
        topic: String,
        /// The client.
        client_id: String,
    },
    /// A publish.
    Publish {
        /// The topic.
        topic: String,
        /// The id of the message.
        id: String,
        /// The payload, verbatim.
        payload: String,
        /// Whether it is idempotent.
        idempotent: bool,
    },
    /// A ping.
    Ping,
    /// A further token.
    Authenticate {
        /// Its text.
        token: String,
    },
}

/// The request id, and the request or the text of the refusal.
pub type Read = (Option<String>, Result<Request, String>);

/// Parses a text message as a session does.
pub fn request(text: &str) -> Read {
    let (id, request) = protocol::parse_request(text);
    (id_text(id), request.map(plain).map_err(error_text))
}

/// Parses it on the fast path only; `None` if that does not accept it.
pub fn request_on_fast_path(text: &str) -> Option<Read> {
    let (id, request) = protocol::read_publish(text)?;
    Some((id_text(id), Ok(plain(request))))
}

/// Parses it field by field, without the fast path.
pub fn request_field_by_field(text: &str) -> Read {
    let (id, request) = protocol::read_any(text);
    (id_text(id), request.map(plain).map_err(error_text))
}

/// The frame that subscribers get if this text is a publish.
pub fn event_frame(text: &str, seq: u64) -> Option<Vec<u8>> {
    let Ok(protocol::Request::Publish { topic, message }) = protocol::parse_request(text).1 else {
        return None;
    };
    let topic = TopicName::new(&topic).ok()?;
    let event = protocol::NewEvent::new(&topic, &message, seq, Timestamp::EARLIEST);
    Some(event.to_frame())
}

fn id_text(id: Option<RequestId<'_>>) -> Option<String> {
    id.map(|id| id.as_str().to_owned())
}

fn error_text(error: protocol::ErrorReply) -> String {
    error.message.into_owned()
}

fn plain(request: protocol::Request<'_>) -> Request {
    match request {
        protocol::Request::Ping => Request::Ping,
        protocol::Request::Authenticate(token) => Request::Authenticate {
            token: token.as_str().to_owned(),
        },
        protocol::Request::Publish { topic, message } => publish(&topic, &message),
        protocol::Request::Unsubscribe { filter, client_id } => Request::Unsubscribe {
            topic: match filter {
                TopicFilter::Topic(topic) => topic.as_str().to_owned(),
                TopicFilter::Pattern(pattern) => pattern.as_str().to_owned(),
            },
            client_id: client_id.as_str().to_owned(),
        },
        protocol::Request::Subscribe(subscribe) => {
            let (last_n, after) = match subscribe.start_at {
                StartAt::Last(last_n) => (last_n, None),
                StartAt::First => (0, None),
                StartAt::After { seq, epoch } => (0, Some((seq, epoch))),
            };
            Request::Subscribe {
                topic: subscribe.topic.as_str().to_owned(),
                client_id: subscribe.client_id.as_str().to_owned(),
                last_n,
                after,
                positions: None,
                presence: subscribe.presence,
            }
        }
        protocol::Request::SubscribePattern(subscribe) => {
            let (last_n, positions) = match subscribe.start_at {
                PatternStart::Last(last_n) => (last_n, None),
                PatternStart::After(positions) => (0, Some(positions)),
            };
            let plain = |(topic, position): (TopicName, Position)| {
                (topic.as_str().to_owned(), (position.seq, position.epoch))
            };
            Request::Subscribe {
                topic: subscribe.pattern.as_str().to_owned(),
                client_id: subscribe.client_id.as_str().to_owned(),
                last_n,
                after: None,
                positions: positions.map(|positions| positions.into_iter().map(plain).collect()),
                presence: subscribe.presence,
            }
        }
    }
}

fn publish(topic: &str, message: &Message<'_>) -> Request {
    Request::Publish {
        topic: topic.to_owned(),
        id: message.id().to_owned(),
        payload: message.payload().to_owned(),
        idempotent: message.key().is_some(),
    }
}

/// The keys of a keys file.
pub struct Keys(Guard);

impl Keys {
    /// Parses the text of a file.
    ///
    /// # Errors
    /// The error text.
    pub fn parse(text: &str) -> Result<Keys, String> {
        Guard::of_text(text).map(Keys)
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.0.key_count()
    }

    /// The holder of the secret with this SHA-256.
    pub fn holder(&self, sha256: &str) -> Option<Holder> {
        let digest = Digest::from_hex(sha256)?;
        self.0.holder_of(&digest).map(Holder)
    }
}

/// A secret that signs tokens.
const TOKEN_SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Checks tokens of one secret.
pub struct Tokens(Guard);

impl Default for Tokens {
    fn default() -> Tokens {
        let settings = TokenSettings {
            secret: JwtSecret::new(TOKEN_SECRET).ok(),
            ..TokenSettings::default()
        };
        let verifier = Verifier::new(settings).ok().flatten();
        Tokens(Guard::new(None, None, verifier).expect("no file is read"))
    }
}

impl Tokens {
    /// The token with this header and these claims.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let message = format!("{}.{}", encode(header), encode(claims));
        let key = EncodingKey::from_secret(TOKEN_SECRET).expect("a secret");
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
        format!("{message}.{}", signature.expect("a signature"))
    }

    /// The holder of this text, if it is a token.
    pub fn holder(&self, text: &[u8]) -> Option<Holder> {
        self.0.admit_token(text).ok().map(Holder)
    }
}

/// The holder of a key or a token.
pub struct Holder(Principal);

impl Holder {
    /// The name of the key.
    pub fn name(&self) -> Option<&str> {
        self.0.key_name()
    }

    /// The user of the token.
    pub fn user(&self) -> Option<&str> {
        self.0.user().map(protocol::UserName::as_str)
    }

    /// Whether the holder may create and delete topics.
    pub fn is_admin(&self) -> bool {
        self.0.is_admin()
    }

    /// Whether the holder may publish to this topic.
    pub fn may_publish(&self, topic: &str) -> bool {
        self.0.may_publish(topic)
    }

    /// Whether the holder may subscribe to this topic.
    pub fn may_subscribe(&self, topic: &str) -> bool {
        self.0.may_subscribe(topic)
    }
}
