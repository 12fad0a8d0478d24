//! The header with which a trusted proxy begins a connection: the PROXY protocol, versions 1 and 2.
//!
//! A header names whom the crate `ppp` finds in it, where that takes it; what is malformed for `ppp` is malformed. The decoder
//! never asks for a byte behind the header, and its answer depends on the bytes alone, not on how they arrived.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oracle::proxy;
use threadcast::fuzzing::{self, ProxyHeader};

fuzz_target!(|data: &[u8]| {
    let mut end = 0;
    let decoded = loop {
        match fuzzing::proxy_header(&data[..end]) {
            Some(ProxyHeader::Needs(bytes)) => {
                assert!(bytes > 0);
                // What is asked for belongs to every header that begins so.
                if let Some(header) = proxy::decode(data) {
                    assert!(end + bytes <= header.length, "more than the header");
                }
                end += bytes;
                if end > data.len() {
                    return;
                }
            }
            Some(ProxyHeader::Complete(client)) => break Some(client),
            None => break None,
        }
    };
    let expected = proxy::decode(data);
    match decoded {
        Some(client) => {
            let header = expected.expect("a header that `ppp` takes, too");
            assert_eq!((client, end), (header.client, header.length));
        }
        None => assert_eq!(expected, None, "refused"),
    }
});
