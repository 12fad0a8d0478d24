//! Scans frame headers in the raw bytes for what tungstenite does not report: the number of fragments of a message, whether
//! a message is incomplete, and, as soon as its first two bytes are there, whether a frame is wrong. Pure.

use tungstenite::error::ProtocolError;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The most fragments of one message.
const MAX_FRAGMENTS: u32 = 1024;
const LONGEST_HEADER: usize = 14;
/// The longest payload of a control frame; it needs no longer length than the one in the second byte.
const MAX_CONTROL_BYTES: u8 = 125;

#[derive(Clone, Default)]
pub(super) struct FrameScanner {
    header: [u8; LONGEST_HEADER],
    header_have: usize,
    /// Payload bytes of the current frame still to come.
    payload_left: u64,
    /// Fragments of the current message so far; 0 between messages.
    fragments: u32,
    /// Whether the current frame is the last of its message.
    final_frame: bool,
    control_frame: bool,
    finished_one: bool,
    too_many: bool,
    /// What is wrong with the current frame, whose header is not passed on as a whole.
    violation: Option<ProtocolError>,
    saw_close: bool,
}

impl FrameScanner {
    /// Scans the next bytes; returns how many of them may be passed on.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> usize {
        self.finished_one = false;
        let mut at = 0;
        while at < bytes.len() && !self.too_many && self.violation.is_none() {
            if self.payload_left > 0 {
                let step = (bytes.len() - at)
                    .min(usize::try_from(self.payload_left).unwrap_or(usize::MAX));
                self.payload_left -= step as u64;
                at += step;
            } else {
                self.header[self.header_have] = bytes[at];
                self.header_have += 1;
                at += 1;
                if self.header_have == 2 {
                    self.violation = self.judge();
                    if self.violation.is_some() {
                        return at - self.header_have.min(at);
                    }
                }
                if self.header_have < self.header_len() {
                    continue;
                }
                self.begin_frame();
                if self.too_many {
                    return at - self.header_have.min(at);
                }
            }
            if self.payload_left == 0 {
                self.end_frame();
            }
        }
        at
    }

    pub(super) fn too_many_fragments(&self) -> bool {
        self.too_many
    }

    /// What is wrong with the frame at which the scan stopped. Nothing behind it is scanned.
    pub(super) fn violation(&self) -> Option<&ProtocolError> {
        self.violation.as_ref()
    }

    /// Whether a close frame has begun.
    pub(super) fn saw_close(&self) -> bool {
        self.saw_close
    }

    /// Whether no frame and no message is incomplete.
    pub(super) fn between_messages(&self) -> bool {
        self.header_have == 0 && self.fragments == 0
    }

    /// Whether a message ended in the bytes last scanned.
    pub(super) fn finished_one(&self) -> bool {
        self.finished_one
    }

    /// What the first two bytes of the header show to be wrong. Of several violations, the one that tungstenite reports.
    fn judge(&self) -> Option<ProtocolError> {
        let [first, second, ..] = self.header;
        let opcode = OpCode::from(first & 0x0f);
        if let OpCode::Data(Data::Reserved(code)) | OpCode::Control(Control::Reserved(code)) =
            opcode
        {
            return Some(ProtocolError::InvalidOpcode(code));
        }
        if second & 0x80 == 0 {
            return Some(ProtocolError::UnmaskedFrameFromClient);
        }
        if first & 0x70 != 0 {
            return Some(ProtocolError::NonZeroReservedBits);
        }
        let in_message = self.fragments > 0;
        match opcode {
            OpCode::Control(_) if first & 0x80 == 0 => Some(ProtocolError::FragmentedControlFrame),
            OpCode::Control(_) if second & 0x7f > MAX_CONTROL_BYTES => {
                Some(ProtocolError::ControlFrameTooBig)
            }
            OpCode::Data(Data::Continue) if !in_message => {
                Some(ProtocolError::UnexpectedContinueFrame)
            }
            OpCode::Data(data) if data != Data::Continue && in_message => {
                Some(ProtocolError::ExpectedFragment(data))
            }
            _ => None,
        }
    }

    fn header_len(&self) -> usize {
        if self.header_have < 2 {
            return 2;
        }
        let length = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.header[1] & 0x80 != 0 { 4 } else { 0 };
        2 + length + mask
    }

    fn begin_frame(&mut self) {
        let big_endian = |bytes: &[u8]| bytes.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
        self.payload_left = match self.header[1] & 0x7f {
            126 => big_endian(&self.header[2..4]),
            127 => big_endian(&self.header[2..10]),
            short => u64::from(short),
        };
        self.control_frame = self.header[0] & 0x08 != 0;
        self.final_frame = self.header[0] & 0x80 != 0;
        self.saw_close |= self.header[0] & 0x0f == 0x08;
        if !self.control_frame {
            self.fragments += 1;
            self.too_many = self.fragments > MAX_FRAGMENTS;
        }
    }

    fn end_frame(&mut self) {
        self.header_have = 0;
        if !self.control_frame && self.final_frame {
            self.fragments = 0;
            self.finished_one = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;
    use tungstenite::protocol::{Role, WebSocketContext};

    fn frame(first: u8, payload: usize) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload {
            0..=125 => bytes.push(0x80 | payload as u8),
            126..=0xffff => {
                bytes.push(0xfe);
                bytes.extend_from_slice(&(payload as u16).to_be_bytes());
            }
            _ => {
                bytes.push(0xff);
                bytes.extend_from_slice(&(payload as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&[0; 4]);
        bytes.resize(bytes.len() + payload, 0);
        bytes
    }

    #[test]
    fn a_fragment_beyond_the_limit_is_not_passed_on() {
        let mut bytes = frame(0x01, 1);
        (0..1023).for_each(|_| bytes.extend(frame(0x00, 0)));
        let allowed = bytes.len();
        let mut exact = FrameScanner::default();
        assert_eq!(exact.scan(&bytes), allowed);
        assert!(!exact.too_many_fragments());
        bytes.extend(frame(0x80, 5));
        let mut scanner = FrameScanner::default();
        assert_eq!(scanner.scan(&bytes), allowed);
        assert!(scanner.too_many_fragments());
    }

    #[test]
    fn control_frames_between_fragments_do_not_count_as_fragments() {
        let mut bytes = frame(0x01, 1);
        (0..2000).for_each(|_| bytes.extend(frame(0x89, 3)));
        bytes.extend(frame(0x80, 1));
        let mut scanner = FrameScanner::default();
        assert_eq!(scanner.scan(&bytes), bytes.len());
        assert!(
            scanner.between_messages() && scanner.finished_one() && !scanner.too_many_fragments()
        );
    }

    /// The error of tungstenite for a whole frame with these first two bytes, behind `before`. A longer length is 126, the
    /// shortest that a control frame may not have.
    fn verdict(before: &[u8], first: u8, second: u8) -> Option<ProtocolError> {
        let (length, payload): (&[u8], _) = match second & 0x7f {
            126 => (&[0, 126], 126),
            127 => (&[0, 0, 0, 0, 0, 0, 0, 126], 126),
            short => (&[], usize::from(short)),
        };
        let mask = if second & 0x80 != 0 { 4 } else { 0 };
        let mut bytes = [before, &[first, second], length].concat();
        bytes.resize(bytes.len() + mask + payload, 0);
        let mut stream = Cursor::new(bytes);
        let mut frames = WebSocketContext::new(Role::Server, None);
        loop {
            match frames.read(&mut stream) {
                Err(tungstenite::Error::Protocol(error)) => return Some(error),
                Ok(_) if stream.position() < before.len() as u64 => {}
                _ => return None,
            }
        }
    }

    #[test]
    fn first_two_bytes_are_judged_as_tungstenite_judges_the_whole_frame() {
        let begun = frame(0x01, 1);
        for before in [&[][..], &begun] {
            for (first, second) in (0..=u16::MAX).map(|both| ((both >> 8) as u8, both as u8)) {
                let mut scanner = FrameScanner::default();
                assert_eq!(scanner.scan(before), before.len());
                let passed = scanner.scan(&[first, second]);
                assert_eq!(passed, if scanner.violation().is_some() { 0 } else { 2 });
                let expected = verdict(before, first, second).filter(|error| {
                    // The end of the bytes, and a payload that is no close code.
                    let of_other_bytes = [
                        ProtocolError::ResetWithoutClosingHandshake,
                        ProtocolError::InvalidCloseSequence,
                    ];
                    !of_other_bytes.contains(error)
                });
                assert_eq!(
                    scanner.violation(),
                    expected.as_ref(),
                    "{first:02x} {second:02x} behind {before:?}"
                );
            }
        }
    }

    #[test]
    fn nothing_behind_a_wrong_frame_is_passed_on_or_scanned() {
        let mut bytes = frame(0x81, 3);
        let good = bytes.len();
        bytes.extend([0x83, 0x80]);
        bytes.extend(frame(0x88, 0));
        for cut in 0..bytes.len() {
            let mut scanner = FrameScanner::default();
            let passed = scanner.scan(&bytes[..cut]) + scanner.scan(&bytes[cut..]);
            assert!(passed <= good + usize::from(cut == good + 1), "{cut}");
            assert_eq!(scanner.violation(), Some(&ProtocolError::InvalidOpcode(3)));
            assert!(!scanner.saw_close());
        }
    }

    proptest! {
        #[test]
        fn splitting_the_input_does_not_change_the_result(
            frames in proptest::collection::vec((any::<bool>(), prop_oneof![0usize..130, 65_530usize..65_540]), 0..6),
            cuts in proptest::collection::vec(1usize..70_000, 0..12),
        ) {
            let mut bytes = Vec::new();
            let mut open = false;
            for (fin, payload) in frames {
                let opcode = if open { 0 } else { 1 };
                bytes.extend(frame(if fin { 0x80 } else { 0 } | opcode, payload));
                open = !fin;
            }
            let mut scanner = FrameScanner::default();
            let mut rest = &bytes[..];
            for cut in cuts {
                let (part, tail) = rest.split_at(cut.min(rest.len()));
                prop_assert_eq!(scanner.scan(part), part.len());
                rest = tail;
            }
            prop_assert_eq!(scanner.scan(rest), rest.len());
            prop_assert_eq!(scanner.between_messages(), !open);
        }

        #[test]
        fn no_input_panics(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..6)) {
            let mut scanner = FrameScanner::default();
            for part in parts {
                prop_assert!(scanner.scan(&part) <= part.len());
            }
        }
    }
}
