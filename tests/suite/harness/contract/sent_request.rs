//! Finds the request that a response answers, from the bytes that were sent.

/// A well-formed request.
#[derive(Debug, Clone)]
pub(crate) struct SentRequest {
    pub(crate) method: String,
    /// Without the query, still percent-encoded.
    pub(crate) path: String,
    /// The part that was sent; empty for a chunked body.
    pub(crate) body: String,
}

/// The bytes of requests that were sent but not yet answered.
#[derive(Default)]
pub(crate) struct Sent {
    bytes: Vec<u8>,
    answered: usize,
}

impl Sent {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.answered);
        self.answered = 0;
        self.bytes.extend(bytes);
    }

    /// Removes and returns the first request; `None` if it is malformed.
    pub(crate) fn take(&mut self) -> Option<SentRequest> {
        let waiting = &self.bytes[self.answered..];
        let mut fields = [httparse::EMPTY_HEADER; 128];
        let mut parsed = httparse::Request::new(&mut fields);
        let Ok(httparse::Status::Complete(head)) = parsed.parse(waiting) else {
            // The start of the next request is unknown.
            self.bytes.clear();
            self.answered = 0;
            return None;
        };
        let length = body_length(parsed.headers);
        let end = length.map_or(waiting.len(), |length| {
            head.saturating_add(length).min(waiting.len())
        });
        let body = length.map_or(&[][..], |_| &waiting[head..end]);
        let request = SentRequest {
            method: parsed.method.unwrap_or_default().to_owned(),
            path: path_of(parsed.path.unwrap_or_default()).to_owned(),
            body: String::from_utf8_lossy(body).into_owned(),
        };
        self.answered += end;
        Some(request)
    }
}

/// `None` if the server's own rules decide it.
fn body_length(fields: &[httparse::Header<'_>]) -> Option<usize> {
    let mut length = 0;
    for field in fields {
        if field.name.eq_ignore_ascii_case("Transfer-Encoding") {
            return None;
        }
        if field.name.eq_ignore_ascii_case("Content-Length") {
            length = std::str::from_utf8(field.value).ok()?.trim().parse().ok()?;
        }
    }
    Some(length)
}

fn path_of(target: &str) -> &str {
    let target = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => {
            rest.find('/').map_or("/", |at| &rest[at..])
        }
        _ => target,
    };
    target.split('?').next().unwrap_or_default()
}
