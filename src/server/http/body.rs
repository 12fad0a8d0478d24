//! Decodes a chunked body while its bytes arrive (RFC 9112 §7.1).
//!
//! Pure and bounded: the caller limits the body, [`MAX_FRAMING_BYTES`] limits all chunk extensions together and all
//! trailers together. Extensions and trailers are skipped. A trailer must have the form of a field, so that a request is
//! never skipped as one.

use super::problem::Problem;
use super::request_line::is_token_byte;

pub(crate) const MAX_FRAMING_BYTES: usize = 4 * 1024;
const MAX_SIZE_DIGITS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size {
        digits: usize,
    },
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a line after the last chunk.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// The decoder of one body.
#[derive(Debug)]
pub(crate) struct ChunkedDecoder {
    state: State,
    /// The size of the current chunk while that is read, then the bytes that are missing of it.
    remaining: u64,
    max_body_bytes: usize,
    extension_bytes: usize,
    trailer_bytes: usize,
}

impl ChunkedDecoder {
    pub(crate) fn new(max_body_bytes: usize) -> ChunkedDecoder {
        ChunkedDecoder {
            state: State::Size { digits: 0 },
            remaining: 0,
            max_body_bytes,
            extension_bytes: 0,
            trailer_bytes: 0,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Appends the bytes of the body in `input` to `body`. Returns how many bytes of `input` were used.
    pub(crate) fn decode(&mut self, input: &[u8], body: &mut Vec<u8>) -> Result<usize, Problem> {
        let mut used = 0;
        while self.state != State::Done {
            let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            if self.state == State::Data {
                used += self.take_data(rest, body);
            } else {
                self.state = self.step(rest[0], body.len())?;
                used += 1;
            }
        }
        Ok(used)
    }

    fn take_data(&mut self, input: &[u8], body: &mut Vec<u8>) -> usize {
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let taken = wanted.min(input.len());
        body.extend_from_slice(&input[..taken]);
        self.remaining -= taken as u64;
        if self.remaining == 0 {
            self.state = State::DataCr;
        }
        taken
    }

    /// Processes one byte of the framing.
    fn step(&mut self, byte: u8, body_bytes: usize) -> Result<State, Problem> {
        match (self.state, byte) {
            (State::Size { digits }, byte) => self.step_size(digits, byte),
            (State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Extension, byte) if is_text(byte) => {
                count(&mut self.extension_bytes)?;
                Ok(State::Extension)
            }
            (State::SizeLf, b'\n') => self.begin_chunk(body_bytes),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size { digits: 0 }),
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerStart | State::TrailerName, byte) if is_token_byte(byte) => {
                count(&mut self.trailer_bytes)?;
                Ok(State::TrailerName)
            }
            (State::TrailerValue, byte) if is_text(byte) => {
                count(&mut self.trailer_bytes)?;
                Ok(State::TrailerValue)
            }
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::EndLf, b'\n') => Ok(State::Done),
            _ => Err(malformed()),
        }
    }

    fn step_size(&mut self, digits: usize, byte: u8) -> Result<State, Problem> {
        match (byte, char::from(byte).to_digit(16)) {
            (b'\r', _) if digits > 0 => Ok(State::SizeLf),
            (b';', _) if digits > 0 => Ok(State::Extension),
            (_, Some(digit)) if digits < MAX_SIZE_DIGITS => {
                // Sixteen hexadecimal digits are 64 bits: nothing is shifted out.
                self.remaining = self.remaining << 4 | u64::from(digit);
                Ok(State::Size { digits: digits + 1 })
            }
            _ => Err(malformed()),
        }
    }

    fn begin_chunk(&self, body_bytes: usize) -> Result<State, Problem> {
        let allowed = self.max_body_bytes.saturating_sub(body_bytes);
        match self.remaining {
            0 => Ok(State::TrailerStart),
            size if size <= allowed as u64 => Ok(State::Data),
            _ => Err(Problem::payload_too_large(self.max_body_bytes)),
        }
    }
}

/// Every byte of a line except control bytes. The tab is allowed.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

fn count(total: &mut usize) -> Result<(), Problem> {
    *total += 1;
    if *total > MAX_FRAMING_BYTES {
        let detail = "The chunked body has too many extensions or trailers";
        return Err(Problem::bad_request(detail));
    }
    Ok(())
}

fn malformed() -> Problem {
    Problem::bad_request("The chunked body is malformed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The body, how much of the input it took, and whether it was complete.
    fn decode(input: &[u8], max: usize) -> Result<(Vec<u8>, usize, bool), u16> {
        let mut decoder = ChunkedDecoder::new(max);
        let mut body = Vec::new();
        match decoder.decode(input, &mut body) {
            Ok(used) => Ok((body, used, decoder.is_done())),
            Err(problem) => Err(problem.status),
        }
    }

    fn encode(chunks: &[Vec<u8>]) -> Vec<u8> {
        let mut encoded = Vec::new();
        for chunk in chunks {
            encoded.extend_from_slice(format!("{:X};n=\"v\"\r\n", chunk.len()).as_bytes());
            encoded.extend_from_slice(chunk);
            encoded.extend_from_slice(b"\r\n");
        }
        encoded.extend_from_slice(b"0\r\nX-Trailer: 1\r\n\r\n");
        encoded
    }

    #[test]
    fn chunks_are_joined_and_the_rest_is_left() {
        let input = b"4;a=b\r\nWiki\r\n005\r\npedia\r\n0\r\nX: y\r\n\r\nGET /";
        assert_eq!(
            decode(input, 9),
            Ok((b"Wikipedia".to_vec(), input.len() - 5, true))
        );
        assert_eq!(decode(b"0\r\n\r\n", 0), Ok((Vec::new(), 5, true)));
    }

    #[test]
    fn malformed_framing_is_400() {
        for input in [
            &b"\r\n"[..],
            b";a\r\n",
            b"g\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b"0x1\r\n",
            b" 1\r\n",
            b"1 \r\n",
            b"1\n",
            b"1\rx",
            b"1\r\nab",
            b"1\r\na\n",
            b"1\r\na\rx",
            b"1;a\n",
            b"1;\0\r\n",
            b"0\r\nX: y\n",
            b"0\r\n\n",
            b"0\r\nX\0\r\n",
            b"0\r\nX: \0\r\n",
            b"0\r\nX\r\n",
            b"0\r\nX : y\r\n",
            b"0\r\n: y\r\n",
            b"0\r\n X: y\r\n",
            b"0\r\nX: y\r\n z\r\n",
            b"0\r\nX: y\r\nGET / HTTP/1.1\r\n",
            b"0\r\n\rx",
            b"00000000000000001\r\n",
            b"fffffffffffffffff\r\n",
        ] {
            assert_eq!(
                decode(input, 100),
                Err(400),
                "{:?}",
                String::from_utf8_lossy(input)
            );
        }
    }

    #[test]
    fn a_body_over_the_limit_is_413_before_its_bytes_come() {
        assert_eq!(decode(b"b\r\n", 10), Err(413));
        assert_eq!(decode(b"ffffffffffffffff\r\n", 10), Err(413));
        assert_eq!(decode(b"a\r\n0123456789\r\n1\r\n", 10), Err(413));
    }

    #[test]
    fn endless_extensions_and_trailers_are_400() {
        let extension = format!("1;{}\r\n", "a".repeat(MAX_FRAMING_BYTES + 1));
        assert_eq!(decode(extension.as_bytes(), 10), Err(400));
        let spread = "1;aaaaaaaa\r\nx\r\n".repeat(MAX_FRAMING_BYTES / 8 + 1);
        assert_eq!(decode(spread.as_bytes(), 1 << 20), Err(400));
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(MAX_FRAMING_BYTES));
        assert_eq!(decode(trailers.as_bytes(), 10), Err(400));
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back_however_it_is_split(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            piece in 1usize..20,
        ) {
            let mut encoded = encode(&chunks);
            let length = encoded.len();
            encoded.extend_from_slice(b"next");
            let mut decoder = ChunkedDecoder::new(1 << 20);
            let (mut body, mut used) = (Vec::new(), 0);
            for part in encoded.chunks(piece) {
                used += decoder.decode(part, &mut body).unwrap();
            }
            prop_assert!(decoder.is_done());
            prop_assert_eq!(used, length);
            prop_assert_eq!(body, chunks.concat());
        }

        #[test]
        fn any_split_of_any_bytes_gives_the_same_result(
            input in "[0-9a-f;\r\n x]{0,40}|([1-3]\r\n[a-z]{1,3}\r\n){0,4}0\r\n(\r\n)?",
            piece in 1usize..8,
        ) {
            let whole = decode(input.as_bytes(), 64);
            let mut decoder = ChunkedDecoder::new(64);
            let (mut body, mut used, mut failed) = (Vec::new(), 0, None);
            for part in input.as_bytes().chunks(piece) {
                match decoder.decode(part, &mut body) {
                    Ok(taken) => used += taken,
                    Err(problem) => { failed = Some(problem.status); break; }
                }
            }
            let split = match failed {
                Some(status) => Err(status),
                None => Ok((body, used, decoder.is_done())),
            };
            prop_assert_eq!(split, whole);
        }

        #[test]
        fn the_body_never_exceeds_its_limit(input in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut body = Vec::new();
            let _ = ChunkedDecoder::new(16).decode(&input, &mut body);
            prop_assert!(body.len() <= 16);
        }
    }
}
