//! Reads fields of the server's messages. A missing field fails the test and shows the whole message.

use serde_json::Value;

/// The `seq` of an event, an ack or a REST answer.
pub(crate) fn seq_of(message: &Value) -> u64 {
    message["seq"]
        .as_u64()
        .unwrap_or_else(|| panic!("no seq in {message}"))
}

/// The `epoch` of an ack or a REST answer.
pub(crate) fn epoch_of(message: &Value) -> &str {
    message["epoch"]
        .as_str()
        .unwrap_or_else(|| panic!("no epoch in {message}"))
}

/// The error code of an error.
pub(crate) fn code_of(message: &Value) -> &str {
    message["error"]["code"]
        .as_str()
        .unwrap_or_else(|| panic!("no error code in {message}"))
}

/// The text of an error.
pub(crate) fn text_of(message: &Value) -> &str {
    message["error"]["message"]
        .as_str()
        .unwrap_or_else(|| panic!("no error text in {message}"))
}

/// The sequences of the events among `messages`.
pub(crate) fn event_seqs(messages: &[Value]) -> Vec<u64> {
    messages
        .iter()
        .filter(|message| message["type"] == "event")
        .map(seq_of)
        .collect()
}

/// Asserts RFC 3339 in UTC with microseconds and `Z`.
pub(crate) fn assert_timestamp(ts: &Value) {
    const SHAPE: &str = "0000-00-00T00:00:00.000000Z";
    let text = ts
        .as_str()
        .unwrap_or_else(|| panic!("{ts} is no timestamp"));
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(
        shape, SHAPE,
        "{text} is not a timestamp with microseconds in UTC"
    );
}
