//! The publish requests, as WebSocket frames or for REST: everything that stays the same is written once, only numbers are put in.

const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

/// Stands before the time of sending in every payload, and marks its place in an event.
pub(crate) const MARK: &[u8] = br#"{"t":""#;
/// Hex digits of a number in a payload.
pub(crate) const DIGITS: usize = 16;
/// Between the time of sending and the number of the message.
pub(crate) const BETWEEN: &[u8] = br#"","n":""#;

/// Makes publish requests of one topic and one payload size.
#[derive(Debug)]
pub(crate) struct Template {
    text: Vec<u8>,
    is_frame: bool,
    id_at: usize,
    sent_at: usize,
    number_at: usize,
}

impl Template {
    /// Frames for a WebSocket. `payload_bytes` is the size of the payload, which cannot be below some 60 bytes.
    pub(crate) fn new(topic: &str, payload_bytes: usize) -> Template {
        let before = format!(r#"{{"type":"publish","topic":"{topic}","message":"#);
        Template {
            is_frame: true,
            ..Template::between(&before, "}", payload_bytes)
        }
    }

    /// The same messages as requests for REST.
    pub(crate) fn rest(topic: &str, payload_bytes: usize) -> Template {
        let body_bytes = Template::between("", "", payload_bytes).text.len();
        let head = format!(
            "POST /topics/{topic}/messages HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n\
             Content-Length: {body_bytes}\r\n\r\n"
        );
        Template::between(&head, "", payload_bytes)
    }

    fn between(before: &str, after: &str, payload_bytes: usize) -> Template {
        let zeros = "0".repeat(DIGITS);
        let start = format!(r#"{{"t":"{zeros}","n":"{zeros}","pad":""#);
        let pad = "x".repeat(payload_bytes.saturating_sub(start.len() + 2));
        let head = format!(r#"{before}{{"id":"00000000-0000-4000-8000-"#);
        let id_at = head.len();
        let before_payload = format!(r#"{head}000000000000","payload":"#);
        let sent_at = before_payload.len() + MARK.len();
        Template {
            text: format!(r#"{before_payload}{start}{pad}"}}}}{after}"#).into_bytes(),
            is_frame: false,
            id_at,
            sent_at,
            number_at: sent_at + DIGITS + BETWEEN.len(),
        }
    }

    /// Appends the request with message `number`, sent at `sent_nanos`, to `out`.
    pub(crate) fn append(&mut self, number: u64, sent_nanos: u64, out: &mut Vec<u8>) {
        write_hex(number, &mut self.text[self.id_at..][..12]);
        write_hex(sent_nanos, &mut self.text[self.sent_at..][..DIGITS]);
        write_hex(number, &mut self.text[self.number_at..][..DIGITS]);
        if self.is_frame {
            append_frame(&self.text, out);
        } else {
            out.extend_from_slice(&self.text);
        }
    }
}

/// One masked text frame.
pub(crate) fn masked_text_frame(text: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(text.len() + 14);
    append_frame(text, &mut frame);
    frame
}

fn append_frame(text: &[u8], out: &mut Vec<u8>) {
    out.push(0x81);
    match text.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(text);
    for (index, byte) in out[start..].iter_mut().enumerate() {
        *byte ^= MASK[index % 4];
    }
}

fn write_hex(number: u64, digits: &mut [u8]) {
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(rest & 15) as usize];
        rest >>= 4;
    }
}

/// Reads a number written by [`Template::append`].
pub(crate) fn read_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}
