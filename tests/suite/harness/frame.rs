//! WebSocket frames (RFC 6455, section 5.2) as a client writes and reads them; independent of the JSON protocol.

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// The opcodes a test sends; reserved ones go through [`Frame::with_first_byte`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// One frame, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    first_byte: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// A whole message, or a control frame.
    pub(crate) fn new(opcode: Opcode, payload: &[u8]) -> Frame {
        Frame::with_first_byte(FIN | opcode as u8, payload)
    }

    /// A frame that is followed by more frames of the same message.
    pub(crate) fn unfinished(opcode: Opcode, payload: &[u8]) -> Frame {
        Frame::with_first_byte(opcode as u8, payload)
    }

    /// A frame with any FIN, reserved bits and opcode, also invalid ones.
    pub(crate) fn with_first_byte(first_byte: u8, payload: &[u8]) -> Frame {
        let payload = payload.to_vec();
        Frame {
            first_byte,
            payload,
        }
    }

    pub(crate) fn text(text: &str) -> Frame {
        Frame::new(Opcode::Text, text.as_bytes())
    }

    pub(crate) fn close(code: u16) -> Frame {
        Frame::new(Opcode::Close, &code.to_be_bytes())
    }

    pub(crate) fn opcode(&self) -> u8 {
        self.first_byte & 0x0f
    }

    /// Whether this is a whole message without extension bits.
    pub(crate) fn is_plain(&self) -> bool {
        self.first_byte & 0xf0 == FIN
    }

    /// The bytes as a client must send them.
    pub(crate) fn masked(&self) -> Vec<u8> {
        let mut bytes = self.header(MASKED);
        bytes.extend(MASK);
        let mask = MASK.iter().cycle();
        bytes.extend(self.payload.iter().zip(mask).map(|(byte, key)| byte ^ key));
        bytes
    }

    /// The bytes as only a server may send them.
    pub(crate) fn unmasked(&self) -> Vec<u8> {
        let mut bytes = self.header(0);
        bytes.extend(&self.payload);
        bytes
    }

    /// The header of a frame that announces this length, in the longest encoding; no payload.
    pub(crate) fn announcing(first_byte: u8, length: u64) -> Vec<u8> {
        let mut bytes = vec![first_byte, MASKED | 127];
        bytes.extend(length.to_be_bytes());
        bytes.extend(MASK);
        bytes
    }

    fn header(&self, mask_bit: u8) -> Vec<u8> {
        let mut header = vec![self.first_byte];
        match self.payload.len() {
            short @ 0..126 => header.push(mask_bit | short as u8),
            medium @ 126..65536 => {
                header.push(mask_bit | 126);
                header.extend((medium as u16).to_be_bytes());
            }
            long => {
                header.push(mask_bit | 127);
                header.extend((long as u64).to_be_bytes());
            }
        }
        header
    }

    /// The first frame of `input` and its length, once it is complete.
    pub(crate) fn parse(input: &[u8]) -> Option<(Frame, usize)> {
        let (&first_byte, rest) = input.split_first()?;
        let (&length_byte, rest) = rest.split_first()?;
        assert!(length_byte < MASKED, "a server must not mask its frames");
        let (length, rest) = match length_byte {
            126 => (
                usize::from(u16::from_be_bytes(*rest.first_chunk()?)),
                &rest[2..],
            ),
            127 => (
                u64::from_be_bytes(*rest.first_chunk()?) as usize,
                &rest[8..],
            ),
            short => (usize::from(short), rest),
        };
        let payload = rest.get(..length)?;
        let consumed = input.len() - rest.len() + length;
        Some((Frame::with_first_byte(first_byte, payload), consumed))
    }
}
