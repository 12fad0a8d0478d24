//! A chunked body, parsed by the grammar of RFC 9112 §7.1 from complete input.

use crate::reader::Reader;

const MAX_FRAMING_BYTES: usize = 4 * 1024;

/// The result of parsing.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A whole body of this many input bytes.
    Done(Vec<u8>, usize),
    /// The beginning of a body.
    More(Vec<u8>),
    Refused(u16),
}

/// Why parsing stopped.
enum Stop {
    More,
    Refused(u16),
}

pub fn decode(input: &[u8], max_body_bytes: usize) -> Outcome {
    let mut reader = Reader::new(input);
    let mut body = Vec::new();
    match chunks(&mut reader, &mut body, max_body_bytes) {
        Ok(()) => Outcome::Done(body, reader.at()),
        Err(Stop::More) => Outcome::More(body),
        Err(Stop::Refused(status)) => Outcome::Refused(status),
    }
}

fn chunks(reader: &mut Reader, body: &mut Vec<u8>, max: usize) -> Result<(), Stop> {
    let mut extensions = 0;
    loop {
        let size = size(reader)?;
        if reader.peek() == Some(b';') {
            reader.next();
            text(reader, &mut extensions)?;
        }
        line_end(reader)?;
        if size == 0 {
            break;
        }
        if size > (max - body.len()) as u64 {
            return Err(Stop::Refused(413));
        }
        for _ in 0..size {
            body.push(reader.next().ok_or(Stop::More)?);
        }
        line_end(reader)?;
    }
    let mut trailers = 0;
    while field_name(reader, &mut trailers)? {
        text(reader, &mut trailers)?;
        line_end(reader)?;
    }
    line_end(reader)
}

/// Skips a trailer's name and colon; returns whether there was one.
fn field_name(reader: &mut Reader, total: &mut usize) -> Result<bool, Stop> {
    let is_token = |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
    let name = reader.take_while(is_token);
    count(total, name)?;
    if name.is_empty() {
        return Ok(false);
    }
    match reader.next() {
        Some(b':') => Ok(true),
        Some(_) => Err(Stop::Refused(400)),
        None => Err(Stop::More),
    }
}

/// 1 to 16 hexadecimal digits.
fn size(reader: &mut Reader) -> Result<u64, Stop> {
    let digits = reader.take_while(|byte| byte.is_ascii_hexdigit());
    if digits.len() > 16 || digits.is_empty() && reader.peek().is_some() {
        return Err(Stop::Refused(400));
    }
    if reader.peek().is_none() {
        return Err(Stop::More);
    }
    let digits = std::str::from_utf8(digits).unwrap();
    Ok(u64::from_str_radix(digits, 16).unwrap())
}

/// Skips and counts the bytes that are allowed in a line.
fn text(reader: &mut Reader, total: &mut usize) -> Result<(), Stop> {
    let text = reader.take_while(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..));
    count(total, text)
}

fn count(total: &mut usize, bytes: &[u8]) -> Result<(), Stop> {
    *total += bytes.len();
    if *total > MAX_FRAMING_BYTES {
        return Err(Stop::Refused(400));
    }
    Ok(())
}

fn line_end(reader: &mut Reader) -> Result<(), Stop> {
    for expected in *b"\r\n" {
        match reader.next() {
            Some(byte) if byte == expected => {}
            Some(_) => return Err(Stop::Refused(400)),
            None => return Err(Stop::More),
        }
    }
    Ok(())
}
