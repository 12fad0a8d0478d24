//! The peer of an event stream: decodes the head of the response, the chunks, and one event in each.

use serde_json::Value;

use super::peer::{Received, read_json};
use crate::protocol::TransferCoding;

/// What comes first in these bytes, if it is complete, and where it ends. The response begins with its head.
pub(super) fn first(
    coding: TransferCoding,
    bytes: &[u8],
    is_beginning: bool,
) -> Option<(Received, usize)> {
    if is_beginning {
        let end = find(bytes, "\r\n\r\n")? + 4;
        assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n"), "another head");
        return Some((Received::Head, end));
    }
    match coding {
        TransferCoding::Chunked => first_chunk(bytes),
        TransferCoding::UntilClose => {
            let end = find(bytes, "\n\n")? + 2;
            Some((read_event(&bytes[..end]), end))
        }
    }
}

fn first_chunk(bytes: &[u8]) -> Option<(Received, usize)> {
    let mut digits = bytes.iter().take_while(|byte| **byte != b'\r');
    let is_size = digits.all(u8::is_ascii_hexdigit);
    assert!(is_size, "no chunk begins with {:?}", text_of(bytes));
    let line = find(bytes, "\r\n")?;
    let size = usize::from_str_radix(text_of(&bytes[..line]), 16).expect("the size of a chunk");
    let (begin, end) = (line + 2, line + 2 + size);
    let closing = bytes.get(end..end + 2)?;
    assert_eq!(closing, b"\r\n", "a chunk does not end where its size says");
    let received = match size {
        0 => Received::EndOfBody,
        _ => read_event(&bytes[begin..end]),
    };
    Some((received, end + 2))
}

/// Reads one event, with the blank line behind it.
fn read_event(bytes: &[u8]) -> Received {
    let text = text_of(bytes);
    let blank = find(bytes, "\n\n").map(|at| at + 2);
    assert_eq!(blank, Some(text.len()), "not one event: {text:?}");
    assert!(!text.contains('\r'), "a line ends with CR: {text:?}");
    let ([mut id, mut name, mut retry], mut comment) = ([None; 3], None);
    let mut data: Vec<&str> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.split_once(": ") {
            Some(("", text)) => comment = Some(text.to_owned()),
            Some(("id", text)) => id = Some(text),
            Some(("event", text)) => name = Some(text),
            Some(("retry", text)) => retry = Some(text),
            Some(("data", text)) => data.push(text),
            _ => panic!("no event has the line {line:?}"),
        }
    }
    let Some(name) = name else {
        assert!(data.is_empty(), "data without a name: {text:?}");
        return comment.map_or(Received::Retry, Received::Comment);
    };
    let json: Value = serde_json::from_str(&data.join("\n")).expect("an event holds JSON");
    let received = read_json(&json);
    check_fields(&received, name, id, retry);
    received
}

/// Checks the fields beside the data. The id is the position that a resume needs.
fn check_fields(received: &Received, name: &str, id: Option<&str>, retry: Option<&str>) {
    let id = id.map(|id| {
        let (epoch, seq) = id.split_once(':').expect("an id has an epoch and a seq");
        assert!(!epoch.is_empty(), "an id without an epoch");
        seq.parse::<u64>().expect("a seq")
    });
    let (expected, seq) = match received {
        Received::Event { seq, .. } => ("event", Some(*seq)),
        Received::Gap { to, .. } => ("gap", Some(*to)),
        // Without an id if events are replayed.
        Received::Ack { seq, .. } => ("ack", id.and(Some(*seq))),
        Received::Notice { .. } => ("info", None),
        other => panic!("{other:?} on an event stream"),
    };
    assert_eq!(name, expected, "the name of {received:?}");
    assert_eq!(id, seq, "the id of {received:?}");
    let is_last = matches!(received, Received::Notice { .. });
    assert_eq!(retry.is_some(), is_last, "the retry of {received:?}");
}

fn text_of(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn find(bytes: &[u8], text: &str) -> Option<usize> {
    let mut windows = bytes.windows(text.len());
    windows.position(|window| window == text.as_bytes())
}
