//! WebSocket frames as a server must send them (RFC 6455 §5): complete, unmasked, without reserved bits.

use crate::reader::Reader;

#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    Text(&'a str),
    Ping,
    Pong,
    /// A close frame with its code, if it has one.
    Close(Option<u16>),
}

/// An error in the frames.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The last frame is incomplete.
    Cut,
    Malformed(&'static str),
}

pub fn read(bytes: &[u8]) -> Result<Vec<Frame<'_>>, Wrong> {
    let mut reader = Reader::new(bytes);
    let mut frames = Vec::new();
    while reader.peek().is_some() {
        if matches!(frames.last(), Some(Frame::Close(_))) {
            return Err(Wrong::Malformed("a frame behind a close frame"));
        }
        frames.push(frame(&mut reader)?);
    }
    Ok(frames)
}

fn frame<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, Wrong> {
    let first = reader.next().ok_or(Wrong::Cut)?;
    let length = length(reader)?;
    let payload = reader.take(length).ok_or(Wrong::Cut)?;
    if first != 0x81 && length > 125 {
        return Err(Wrong::Malformed("a long control frame"));
    }
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Wrong::Malformed("no UTF-8"));
    match first {
        0x81 => Ok(Frame::Text(text(payload)?)),
        0x88 => match payload.split_first_chunk() {
            Some((code, reason)) => {
                text(reason)?;
                Ok(Frame::Close(Some(u16::from_be_bytes(*code))))
            }
            None if payload.is_empty() => Ok(Frame::Close(None)),
            None => Err(Wrong::Malformed("half a close code")),
        },
        0x89 => Ok(Frame::Ping),
        0x8a => Ok(Frame::Pong),
        _ => Err(Wrong::Malformed(
            "a first byte that no frame of a server has",
        )),
    }
}

/// The length, in its shortest encoding.
fn length(reader: &mut Reader) -> Result<usize, Wrong> {
    let mut number = |bytes: usize| {
        let bytes = reader.take(bytes).ok_or(Wrong::Cut)?;
        Ok(bytes
            .iter()
            .fold(0, |number, byte| number << 8 | usize::from(*byte)))
    };
    match number(1)? {
        short @ ..=125 => Ok(short),
        126 => number(2).and_then(|length| at_least(126, length)),
        127 => number(8).and_then(|length| at_least(1 << 16, length)),
        _ => Err(Wrong::Malformed("a masked frame")),
    }
}

fn at_least(least: usize, length: usize) -> Result<usize, Wrong> {
    if length < least {
        return Err(Wrong::Malformed("a length in more bytes than it needs"));
    }
    Ok(length)
}
