//! Certificates that change while the server runs.

use std::fs;

use super::{TlsServer, get};
use crate::harness::{ChildServer, Dial, connect_tls, eventually};

impl TlsServer {
    /// The certificate that a new connection gets.
    fn shown(&self) -> Vec<u8> {
        let mut client = self.connect();
        get(&mut client, "/livez");
        let chain = client.conn.peer_certificates().expect("a certificate");
        chain[0].to_vec()
    }
}

#[test]
fn changed_files_are_noticed_and_open_connections_stay() {
    let server = TlsServer::start();
    let relay = server.relay();
    let mut open = Dial::to(relay.addr()).connect();
    assert_eq!(server.shown(), server.issued.der);
    let renewed = server.authority.issue();
    server.files.write(&renewed);
    eventually("the new certificate is shown", || {
        server.shown() == renewed.der
    });
    assert!(open.fence().is_empty());
}

#[test]
fn broken_pair_keeps_the_old_one_until_it_is_mended() {
    let server = TlsServer::start();
    let other = server.authority.issue();
    server.files.key.write(&other.key);
    let error = server.server.embedded().reload_certificate().unwrap_err();
    assert_eq!(error.setting, "tls_key");
    assert!(
        error.reason.contains("not the key of the certificate"),
        "{error}"
    );
    assert_eq!(server.shown(), server.issued.der);
    fs::remove_file(server.files.cert.path()).unwrap();
    let error = server.server.embedded().reload_certificate().unwrap_err();
    assert_eq!(error.setting, "tls_cert");
    assert_eq!(server.shown(), server.issued.der);
    server.files.write(&other);
    eventually("the mended pair is shown", || server.shown() == other.der);
}

#[test]
fn reload_takes_the_new_pair_at_once() {
    let server = TlsServer::start();
    let renewed = server.authority.issue();
    server.files.write(&renewed);
    server.server.embedded().reload_certificate().unwrap();
    assert_eq!(server.shown(), renewed.der);
}

#[test]
fn sighup_is_a_reload() {
    let server = TlsServer::start();
    let (cert, key) = (&server.files.cert, &server.files.key);
    let child = ChildServer::start(&[
        ("PUBSUB_TLS_CERT", cert.name()),
        ("PUBSUB_TLS_KEY", key.name()),
    ]);
    let renewed = server.authority.issue();
    server.files.write(&renewed);
    child.signal("HUP");
    eventually("the new certificate is shown", || {
        let config = server.authority.client_config();
        let mut client = connect_tls(child.addr(), &config);
        get(&mut client, "/livez");
        client.conn.peer_certificates().unwrap()[0].to_vec() == renewed.der
    });
}
