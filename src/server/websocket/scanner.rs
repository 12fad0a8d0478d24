//! Scans frame headers in the raw bytes for what tungstenite does not report: the number of fragments of a message, and
//! whether a message is incomplete. Pure.

/// The most fragments of one message.
const MAX_FRAGMENTS: u32 = 1024;
const LONGEST_HEADER: usize = 14;

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
    saw_close: bool,
}

impl FrameScanner {
    /// Scans the next bytes; returns how many of them may be passed on.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> usize {
        self.finished_one = false;
        let mut at = 0;
        while at < bytes.len() && !self.too_many {
            if self.payload_left > 0 {
                let step = (bytes.len() - at)
                    .min(usize::try_from(self.payload_left).unwrap_or(usize::MAX));
                self.payload_left -= step as u64;
                at += step;
            } else {
                self.header[self.header_have] = bytes[at];
                self.header_have += 1;
                at += 1;
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
