//! What a client does on one connection, in a form that both people and mutations can change.
//!
//! The first byte is `H` for raw bytes, with a NUL between packets. After a `W` the connection is a WebSocket, and each
//! line is a step, by its first byte:
//!
//! | | |
//! |---|---|
//! | `F` | a masked frame: its first byte, then its payload |
//! | `U` | the same, unmasked |
//! | `L` | the same, with an announced length of 70,000 bytes more than it has |
//! | `R` | raw bytes |
//! | `P` | sends everything so far as a packet of its own |
//! | `C` | another client posts this to `/topics` |
//! | `D` | another client deletes this topic |
//! | `X` | the connection is reset |
//! | any other | the whole line is a text message |

pub enum Step<'a> {
    Send(Vec<u8>),
    Packet,
    Create(&'a [u8]),
    Delete(&'a [u8]),
    Reset,
}

pub struct Script<'a> {
    pub is_websocket: bool,
    pub steps: Vec<Step<'a>>,
    /// How many requests it makes, if it does nothing else.
    pub requests_only: Option<usize>,
}

impl Script<'_> {
    /// Whether these bytes are sent, also across two packets.
    pub fn sends(&self, wanted: &[u8]) -> bool {
        let sent = self.steps.iter().filter_map(|step| match step {
            Step::Send(bytes) => Some(&**bytes),
            _ => None,
        });
        let sent = sent.collect::<Vec<_>>().concat();
        sent.windows(wanted.len()).any(|window| window == wanted)
    }
}

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const TEXT: u8 = 0x81;

pub fn read(data: &[u8], max_message_bytes: usize) -> Option<Script<'_>> {
    let (kind, rest) = data.split_first()?;
    match kind {
        b'H' => Some(Script {
            is_websocket: false,
            steps: packets(rest),
            requests_only: None,
        }),
        b'W' => {
            let lines: Vec<&[u8]> = rest.split(|byte| *byte == b'\n').collect();
            let plain = lines.iter().all(|line| is_request(line, max_message_bytes));
            Some(Script {
                is_websocket: true,
                steps: lines.iter().map(|line| step(line)).collect(),
                requests_only: plain.then_some(lines.len()),
            })
        }
        _ => None,
    }
}

fn packets(bytes: &[u8]) -> Vec<Step<'_>> {
    let packets = bytes.split(|byte| *byte == 0);
    packets
        .flat_map(|packet| [Step::Send(packet.to_vec()), Step::Packet])
        .collect()
}

fn is_request(line: &[u8], max_message_bytes: usize) -> bool {
    let is_step = line.first().is_some_and(|kind| b"FULRPCDX".contains(kind));
    !is_step && line.len() <= max_message_bytes && std::str::from_utf8(line).is_ok()
}

fn step<'a>(line: &'a [u8]) -> Step<'a> {
    let framed = |rest: &'a [u8], mask, surplus| match rest.split_first() {
        Some((first, payload)) => Step::Send(frame(*first, payload, mask, surplus)),
        None => Step::Packet,
    };
    match line.split_first() {
        Some((b'F', rest)) => framed(rest, Some(MASK), 0),
        Some((b'U', rest)) => framed(rest, None, 0),
        Some((b'L', rest)) => framed(rest, Some(MASK), 70_000),
        Some((b'R', rest)) => Step::Send(rest.to_vec()),
        Some((b'P', _)) => Step::Packet,
        Some((b'C', rest)) => Step::Create(rest),
        Some((b'D', rest)) => Step::Delete(rest),
        Some((b'X', _)) => Step::Reset,
        _ => Step::Send(frame(TEXT, line, Some(MASK), 0)),
    }
}

fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>, surplus: usize) -> Vec<u8> {
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() + surplus {
        short @ ..=125 => frame.push(mask_bit | short as u8),
        medium @ ..=0xffff => {
            frame.push(mask_bit | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(mask_bit | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(mask.iter().flatten());
    let mask = mask.unwrap_or_default();
    frame.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}
