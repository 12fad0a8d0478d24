//! `X-Forwarded-For`: fields, one per line, behind a line with the peer and a line with trusted proxies.
//!
//! The client is whom a plain reading of the rules finds; a peer that is not trusted is the client itself, whatever it sends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oracle::forwarded;
use threadcast::fuzzing;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let peer = lines.next().and_then(|line| line.parse().ok());
    let peer = peer.unwrap_or_else(|| "10.0.0.1:1".parse().unwrap());
    let proxies: Vec<&str> = lines.next().unwrap_or("10.0.0.0/8").split(' ').collect();
    let fields: Vec<&str> = lines.collect();
    let found = fuzzing::client_of(&proxies, peer, &fields);
    assert_eq!(found, forwarded::client_of(&proxies, peer, &fields));
});
