//! Finds the end of a request head while its bytes arrive, and refuses a malformed one as early as possible.
//!
//! Looks at each byte once, however small the reads are, and parses the request line. Does not interpret fields.

use super::problem::Problem;
use super::request_line::{self, RequestLine};

pub(crate) const MAX_HEAD_BYTES: usize = 16 * 1024;
pub(crate) const MAX_HEADERS: usize = 64;

/// A request line without an end up to here has a target that is too long, or is no HTTP.
const MAX_REQUEST_LINE_BYTES: usize = request_line::MAX_TARGET_BYTES + 64;

/// The state of the scan of one head. Each call must get the same bytes again, with more behind them.
#[derive(Debug, Default)]
pub(crate) struct HeadScanner {
    scanned: usize,
    line_start: usize,
    lines: usize,
    /// With the position of the first field.
    request_line: Option<(RequestLine, usize)>,
}

impl HeadScanner {
    /// The length of the head with its empty line, once that is there.
    pub(crate) fn advance(&mut self, buffer: &[u8]) -> Result<Option<usize>, Problem> {
        while let Some(&byte) = buffer.get(self.scanned) {
            match (byte, buffer.get(self.scanned + 1)) {
                (b'\r', None) => break,
                (b'\r', Some(b'\n')) => {
                    if self.end_line(buffer)? {
                        return Ok(Some(self.scanned));
                    }
                }
                (byte, _) if self.is_allowed(byte) => self.scanned += 1,
                _ => return Err(stray_byte(byte)),
            }
            self.check_limits()?;
        }
        Ok(None)
    }

    /// The request line and the position of the first field, once [`advance`](Self::advance) has passed the line.
    pub(super) fn into_request_line(self) -> Option<(RequestLine, usize)> {
        self.request_line
    }

    /// Steps over a CRLF; `true` after the empty line that ends the head.
    fn end_line(&mut self, buffer: &[u8]) -> Result<bool, Problem> {
        let line = buffer.get(self.line_start..self.scanned);
        let line = line.unwrap_or_default();
        if self.lines == 0 {
            self.request_line = Some((request_line::parse(line)?, self.scanned + 2));
        }
        self.scanned += 2;
        self.line_start = self.scanned;
        self.check_limits()?;
        if line.is_empty() {
            return Ok(true);
        }
        self.lines += 1;
        if self.lines > 1 + MAX_HEADERS {
            return Err(too_many_headers());
        }
        Ok(false)
    }

    fn is_allowed(&self, byte: u8) -> bool {
        let in_request_line = self.lines == 0;
        match byte {
            b'\t' => !in_request_line,
            0x80.. => !in_request_line,
            other => !other.is_ascii_control(),
        }
    }

    fn check_limits(&self) -> Result<(), Problem> {
        if self.lines == 0 && self.scanned > MAX_REQUEST_LINE_BYTES {
            return Err(request_line::target_too_long());
        }
        if self.scanned > MAX_HEAD_BYTES {
            return Err(head_too_large());
        }
        Ok(())
    }
}

fn stray_byte(byte: u8) -> Problem {
    Problem::bad_request(match byte {
        b'\r' | b'\n' => "Lines of the head must end with CR LF",
        _ => "The head has a byte that is not allowed",
    })
}

fn head_too_large() -> Problem {
    let detail = format!("The head is larger than {MAX_HEAD_BYTES} bytes");
    Problem::new(431, "HEADERS_TOO_LARGE", detail)
}

fn too_many_headers() -> Problem {
    let detail = format!("The head has more than {MAX_HEADERS} fields");
    Problem::new(431, "HEADERS_TOO_LARGE", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(bytes: &[u8]) -> Result<Option<usize>, u16> {
        HeadScanner::default()
            .advance(bytes)
            .map_err(|problem| problem.status)
    }

    #[test]
    fn the_head_ends_at_the_empty_line() {
        assert_eq!(scan(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody"), Ok(Some(27)));
        assert_eq!(scan(b"GET / HTTP/1.1\r\n\r\n"), Ok(Some(18)));
        assert_eq!(scan(b"GET / HTTP/1.1\r\nHost: a\r\n\r"), Ok(None));
        assert_eq!(scan(b""), Ok(None));
    }

    #[test]
    fn noise_is_refused_at_its_first_bad_byte() {
        for bytes in [
            &b"\x16\x03\x01\x02"[..],
            b"GET\t",
            b"\xff",
            b"GET / HTTP/1.1\n",
            b"GET / HTTP/1.1\rX",
            b"GET / HTTP/1.1\r\nHost: a\n",
            b"GET / HTTP/1.1\r\nHost: a\rb",
            b"GET / HTTP/1.1\r\nHost: \0",
            b"GET / HTTP/1.1\r\nHost: \x7f",
            b"\r\n",
            b"GET /\r\n",
        ] {
            assert_eq!(scan(bytes), Err(400), "{bytes:?}");
        }
    }

    #[test]
    fn sixty_four_fields_pass_and_one_more_does_not() {
        let head = |fields: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(fields));
        assert!(scan(head(MAX_HEADERS).as_bytes()).unwrap().is_some());
        assert_eq!(scan(head(MAX_HEADERS + 1).as_bytes()), Err(431));
    }

    #[test]
    fn a_head_of_16_kib_passes_and_one_byte_more_does_not() {
        let frame = "GET / HTTP/1.1\r\na: \r\n\r\n".len();
        let head = |length: usize| {
            format!(
                "GET / HTTP/1.1\r\na: {}\r\n\r\n",
                "b".repeat(length - frame)
            )
        };
        assert_eq!(
            scan(head(MAX_HEAD_BYTES).as_bytes()),
            Ok(Some(MAX_HEAD_BYTES))
        );
        assert_eq!(scan(head(MAX_HEAD_BYTES + 1).as_bytes()), Err(431));
        assert_eq!(
            scan(&head(MAX_HEAD_BYTES * 2).as_bytes()[..MAX_HEAD_BYTES + 1]),
            Err(431)
        );
    }

    #[test]
    fn an_endless_request_line_is_414() {
        assert_eq!(
            scan("G".repeat(MAX_REQUEST_LINE_BYTES + 1).as_bytes()),
            Err(414)
        );
        assert_eq!(
            scan("G".repeat(MAX_REQUEST_LINE_BYTES).as_bytes()),
            Ok(None)
        );
    }

    proptest! {
        #[test]
        fn pieces_give_the_same_result_as_the_whole(
            head in "GET /[a-z]{0,8} HTTP/1.1\r\n([a-z]{1,4}:[\t -~\r\n]{0,8}\r\n){0,4}(\r\n)?[a-z\n\r]{0,6}",
            cuts in prop::collection::vec(0usize..64, 0..8),
        ) {
            let bytes = head.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let mut scanner = HeadScanner::default();
            let mut last = Ok(None);
            for cut in cuts {
                last = scanner.advance(&bytes[..cut]).map_err(|problem| problem.status);
                if last != Ok(None) {
                    break;
                }
            }
            prop_assert_eq!(last, scan(bytes));
        }
    }
}
