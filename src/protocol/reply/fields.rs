//! The parts of a reply or a notice, as JSON: how it begins and ends, and each kind of field.

use crate::protocol::{ErrorCode, Timestamp};

pub(super) fn begin(out: &mut Vec<u8>, kind: &str, request_id: Option<&str>) {
    out.extend_from_slice(br#"{"type":""#);
    out.extend_from_slice(kind.as_bytes());
    out.push(b'"');
    if let Some(id) = request_id {
        out.extend_from_slice(br#","request_id":"#);
        json(out, id);
    }
}

pub(super) fn error_object(out: &mut Vec<u8>, code: ErrorCode, message: &str) {
    out.extend_from_slice(br#","error":{"code":""#);
    out.extend_from_slice(code.as_str().as_bytes());
    out.extend_from_slice(br#"","message":"#);
    json(out, message);
    out.push(b'}');
}

/// Appends a field whose value needs no escaping.
pub(super) fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    raw(out, name, "\"");
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

/// Appends a field whose value is JSON text.
pub(super) fn raw(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(value.as_bytes());
}

pub(super) fn flag(out: &mut Vec<u8>, name: &str, value: bool) {
    raw(out, name, if value { "true" } else { "false" });
}

pub(super) fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    raw(out, name, itoa::Buffer::new().format(value));
}

pub(super) fn json(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    // Serializing strings and gaps cannot fail, and neither can writing to a Vec.
    let _ = serde_json::to_writer(out, value);
}

pub(super) fn end(out: &mut Vec<u8>) {
    end_at(out, Timestamp::now());
}

pub(super) fn end_at(out: &mut Vec<u8>, ts: Timestamp) {
    out.extend_from_slice(br#","ts":""#);
    out.extend_from_slice(ts.as_bytes());
    out.extend_from_slice(br#""}"#);
}
