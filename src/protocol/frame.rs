//! Encodes the WebSocket frames that the server sends (RFC 6455): unfragmented, unmasked, uncompressed.

/// Longest payload of a control frame, in bytes (RFC 6455 §5.5).
const MAX_CONTROL_BYTES: usize = 125;

/// Close codes (RFC 6455 §7.4); those from 4000 are specific to this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CloseCode(pub(crate) u16);

impl CloseCode {
    pub(crate) const NORMAL: CloseCode = CloseCode(1000);
    pub(crate) const GOING_AWAY: CloseCode = CloseCode(1001);
    pub(crate) const PROTOCOL: CloseCode = CloseCode(1002);
    pub(crate) const INVALID_UTF8: CloseCode = CloseCode(1007);
    pub(crate) const POLICY: CloseCode = CloseCode(1008);
    pub(crate) const TOO_BIG: CloseCode = CloseCode(1009);
    pub(crate) const INTERNAL: CloseCode = CloseCode(1011);
    pub(crate) const UNAUTHORIZED: CloseCode = CloseCode(4001);
    pub(crate) const SLOW_CONSUMER: CloseCode = CloseCode(4100);
    pub(crate) const ADMINISTRATOR: CloseCode = CloseCode(4101);
    pub(crate) const HEARTBEAT: CloseCode = CloseCode(4102);
}

/// Length in bytes of the header of a text frame with this payload length.
pub(crate) const fn header_len(payload: usize) -> usize {
    match payload {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// Header length and payload length of the frame at the start of `frame`, which this server encoded.
pub(super) fn frame_lengths(frame: &[u8]) -> (usize, usize) {
    let big_endian = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
    match frame[1] {
        126 => (4, big_endian(&frame[2..4])),
        127 => (10, big_endian(&frame[2..10])),
        short => (2, short.into()),
    }
}

/// The header of a final text frame, and its length.
pub(super) fn text_header(payload: usize) -> ([u8; 10], usize) {
    let mut header = [0; 10];
    header[0] = 0x81;
    match payload {
        0..=125 => header[1] = payload as u8,
        126..=0xffff => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
        }
        _ => {
            header[1] = 127;
            header[2..10].copy_from_slice(&(payload as u64).to_be_bytes());
        }
    }
    (header, header_len(payload))
}

/// Appends the header of a final text frame.
pub(crate) fn push_text_header(payload: usize, out: &mut Vec<u8>) {
    let (header, len) = text_header(payload);
    out.extend_from_slice(&header[..len]);
}

/// Appends a text frame whose payload is appended by `write`. The header is inserted once the length is known.
pub(crate) fn push_text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 2]);
    write(out);
    let payload = out.len() - start - 2;
    let mut header = Vec::new();
    if payload <= 125 {
        out[start..start + 2].copy_from_slice(&[0x81, payload as u8]);
    } else {
        push_text_header(payload, &mut header);
        out.splice(start..start + 2, header);
    }
}

fn control_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    debug_assert!(payload.len() <= MAX_CONTROL_BYTES);
    let mut frame = Vec::with_capacity(2 + payload.len());
    frame.extend_from_slice(&[0x80 | opcode, payload.len() as u8]);
    frame.extend_from_slice(payload);
    frame
}

/// A close frame. A reason that is too long is truncated at a character boundary.
pub(crate) fn close_frame(code: CloseCode, reason: &str) -> Vec<u8> {
    let mut payload = code.0.to_be_bytes().to_vec();
    let mut end = reason.len().min(MAX_CONTROL_BYTES - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    control_frame(0x8, &payload)
}

pub(crate) fn ping_frame() -> Vec<u8> {
    control_frame(0x9, &[])
}

/// The answer to a ping, with the same payload.
pub(crate) fn pong_frame(payload: &[u8]) -> Vec<u8> {
    control_frame(0xa, &payload[..payload.len().min(MAX_CONTROL_BYTES)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tungstenite::Message;
    use tungstenite::protocol::{Role, WebSocket};

    fn read_back(frame: Vec<u8>) -> Message {
        let wire = std::io::Cursor::new(frame);
        WebSocket::from_raw_socket(wire, Role::Client, None)
            .read()
            .unwrap()
    }

    #[test]
    fn close_reason_is_truncated_at_a_character_boundary() {
        let frame = close_frame(CloseCode::POLICY, &"é".repeat(100));
        assert_eq!(frame.len(), 2 + 2 + 122);
        let Message::Close(Some(close)) = read_back(frame) else {
            panic!("no close frame")
        };
        assert_eq!(close.reason.as_str(), "é".repeat(61));
    }

    proptest! {
        #[test]
        fn peer_reads_back_every_text(len in prop_oneof![0usize..300, 65_500usize..65_600]) {
            let text = "x".repeat(len);
            let mut frame = Vec::new();
            push_text(&mut frame, |out| out.extend_from_slice(text.as_bytes()));
            prop_assert_eq!(frame.len(), header_len(len) + len);
            prop_assert_eq!(read_back(frame), Message::text(text));
        }
    }
}
