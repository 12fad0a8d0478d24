//! An attempt to send a REST request to one server: its time limits, and what its errors mean for the other servers.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use ureq::http::{Method, Request, Response, StatusCode, header, request};
use ureq::{Agent, AsSendBody, Body, Timeout};

use super::problem;
use crate::client::Error;
use crate::client::address::Address;
use crate::client::addresses::{AddressError, fair_deadline};
use crate::client::settings::Settings;

/// The largest response body that is read.
const MAX_RESPONSE_BYTES: u64 = 256 << 20;

/// Asks whether a server is alive. It gets no key, and its certificate is not checked: one that has expired is no reason to start
/// the server again.
pub(super) const LIVENESS: &str = "/livez";

/// A request, which several servers may get in turn.
pub(super) struct Outgoing<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    /// JSON, or nothing.
    pub(super) body: String,
}

impl Outgoing<'_> {
    /// Whether it may be repeated, even if a server has processed it.
    fn is_safe(&self) -> bool {
        self.method == Method::GET
    }
}

/// The time limits of an attempt.
struct Limits {
    whole: Duration,
    connect: Duration,
    /// From the request to the head of the response; `None` is the rest of `whole`.
    response: Option<Duration>,
}

pub(super) struct Attempt<'a> {
    settings: &'a Settings,
    address: &'a Address,
    request: &'a Outgoing<'a>,
    limits: Limits,
}

impl<'a> Attempt<'a> {
    /// With several untried servers, each gets its part of the time. A request that is not safe goes to no other server once it
    /// is sent, so it may wait longer for its response.
    pub(super) fn new(
        settings: &'a Settings,
        address: &'a Address,
        request: &'a Outgoing<'a>,
        (untried, deadline): (usize, Instant),
    ) -> Attempt<'a> {
        let now = Instant::now();
        let part = fair_deadline(deadline, untried).saturating_duration_since(now);
        Attempt {
            settings,
            address,
            request,
            limits: Limits {
                whole: deadline.saturating_duration_since(now),
                connect: settings.attempt_timeout().min(part),
                response: (untried > 1 && request.is_safe()).then_some(part),
            },
        }
    }

    /// The status and the body of the response. A server that is not available is a reason to try the next one.
    pub(super) fn send(&self, agent: &Agent) -> Result<Vec<u8>, AddressError> {
        let http = self.head().map_err(AddressError::Final)?;
        let body = self.request.body.as_str();
        let sent = match body.is_empty() {
            true => self.run(agent, http.body(())),
            false => {
                let http = http.header(header::CONTENT_TYPE, "application/json");
                self.run(agent, http.body(body))
            }
        };
        let mut response = sent?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(MAX_RESPONSE_BYTES);
        let body = body.read_to_vec().map_err(|error| self.error(error))?;
        match status {
            status if status.is_success() => Ok(body),
            StatusCode::SERVICE_UNAVAILABLE => {
                Err(AddressError::TryNext(problem(status.as_u16(), &body)))
            }
            status => Err(AddressError::Final(problem(status.as_u16(), &body))),
        }
    }

    fn head(&self) -> Result<request::Builder, Error> {
        let request = Request::builder()
            .method(self.request.method.clone())
            .uri(self.address.rest_url(self.request.path));
        let key = self.settings.key.as_ref();
        let Some(key) = key.filter(|_| self.request.path != LIVENESS) else {
            return Ok(request);
        };
        let mut value = header::HeaderValue::from_str(&key.authorization())
            .map_err(|_| Error::invalid("key: visible ASCII characters only"))?;
        value.set_sensitive(true);
        Ok(request.header(header::AUTHORIZATION, value))
    }

    fn run<B: AsSendBody>(
        &self,
        agent: &Agent,
        request: Result<Request<B>, ureq::http::Error>,
    ) -> Result<Response<Body>, AddressError> {
        let invalid_host = |_| AddressError::Final(Error::invalid("url: not a host name"));
        let request = agent.configure_request(request.map_err(invalid_host)?);
        #[cfg(feature = "tls")]
        let request = match self.address.is_tls() {
            true if self.request.path == LIVENESS => {
                request.tls_config(crate::client::tls::any_certificate())
            }
            true => {
                let trusted = self.settings.trust.of_rest().map_err(AddressError::Final)?;
                request.tls_config(trusted)
            }
            false => request,
        };
        let request = request
            .timeout_global(Some(self.limits.whole))
            .timeout_resolve(Some(self.limits.connect))
            .timeout_connect(Some(self.limits.connect))
            .timeout_recv_response(self.limits.response)
            .build();
        agent.run(request).map_err(|error| self.error(error))
    }

    fn error(&self, error: ureq::Error) -> AddressError {
        let was_sent = may_have_been_sent(&error);
        let error = self.mapped(error);
        match error.is_temporary() && (self.request.is_safe() || !was_sent) {
            true => AddressError::TryNext(error),
            false => AddressError::Final(error),
        }
    }

    /// Maps an error of the HTTP client. If the connection was established, the server may have processed the request.
    fn mapped(&self, error: ureq::Error) -> Error {
        let lost = |source: &io::Error| match self.request.is_safe() {
            true => Error::lost(None, source.to_string()),
            false => Error::lost(
                None,
                format!("{source}; the server may or may not have processed the request"),
            ),
        };
        let unreachable = |source| Error::Connect {
            address: self.address.to_string(),
            source,
        };
        #[cfg(feature = "tls")]
        if let Some(reason) = tls_reason(&error) {
            let address = self.address.to_string();
            return Error::Tls { address, reason };
        }
        match error {
            ureq::Error::Io(source) if is_connection_loss(source.kind()) => lost(&source),
            ureq::Error::Io(source) => unreachable(source),
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
                unreachable(io::Error::other(error.to_string()))
            }
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => Error::Timeout {
                what: "connection",
                after: self.limits.connect,
            },
            ureq::Error::Timeout(reason) => Error::Timeout {
                what: "answer",
                after: match (reason, self.limits.response) {
                    (Timeout::RecvResponse, Some(response)) => response,
                    _ => self.settings.request_timeout,
                },
            },
            other => Error::protocol(other.to_string()),
        }
    }
}

/// Whether an error ended an established connection.
fn is_connection_loss(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
    )
}

/// `false` only if there was certainly no connection.
fn may_have_been_sent(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => false,
        ureq::Error::Timeout(reason) => !matches!(reason, Timeout::Connect | Timeout::Resolve),
        ureq::Error::Io(source) => match source.kind() {
            ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::AddrNotAvailable => false,
            // A failed name lookup is not an error of the system.
            kind => source.raw_os_error().is_some() || is_connection_loss(kind),
        },
        _ => true,
    }
}

/// Why there is no TLS with the server, if that is the error.
#[cfg(feature = "tls")]
fn tls_reason(error: &ureq::Error) -> Option<String> {
    match error {
        ureq::Error::Io(source) => crate::client::tls::reason(source),
        ureq::Error::Rustls(error) => Some(crate::client::tls::reason_of(error)),
        _ => None,
    }
}
