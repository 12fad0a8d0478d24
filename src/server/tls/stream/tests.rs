//! The stream against a client of rustls on the other side of a socket.

use std::net::TcpListener;
use std::thread;

use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::*;

type Client = StreamOwned<ClientConnection, TcpStream>;

const LIMIT: Duration = Duration::from_secs(10);

fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let cert: CertificateDer<'static> = params.self_signed(&key).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

/// Both ends, after the handshake; the kernel holds little between them.
fn pair() -> (TlsStream, Client) {
    let (server, client) = configs();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    theirs.set_read_timeout(Some(LIMIT)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut theirs = StreamOwned::new(ClientConnection::new(client, name).unwrap(), theirs);
    let ours = TlsStream::new(ours, &server).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| ours.handshake(Deadline::after(LIMIT)).unwrap());
        theirs.conn.complete_io(&mut theirs.sock).unwrap();
    });
    (ours, theirs)
}

fn numbered(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n * 31 % 251) as u8).collect()
}

#[test]
fn what_the_kernel_refuses_is_not_reported_and_sent_once() {
    let (ours, mut theirs) = pair();
    let bytes = numbered(16 << 20);
    let mut sent = 0;
    while let count @ 1.. = ours.try_send(&bytes[sent..]).unwrap() {
        sent += count;
    }
    assert!(sent < bytes.len(), "the kernel holds less");
    assert_eq!(
        ours.send_within(&bytes[sent..], Duration::from_millis(20))
            .unwrap_err()
            .kind(),
        ErrorKind::WouldBlock
    );
    let mut received = vec![0; bytes.len()];
    thread::scope(|scope| {
        scope.spawn(|| {
            while sent < bytes.len() {
                sent += ours.send_within(&bytes[sent..], LIMIT).unwrap();
            }
        });
        theirs.read_exact(&mut received).unwrap();
    });
    assert!(received == bytes);
}

#[test]
fn a_read_waits_no_longer_than_its_time_for_a_record_that_drips_in() {
    let (ours, mut theirs) = pair();
    ours.set_read_timeout(Some(Duration::from_millis(50)));
    theirs.sock.write_all(&[23, 3, 3, 0x40, 0]).unwrap();
    let mut dripping = theirs.sock.try_clone().unwrap();
    let began = Instant::now();
    let dripper = thread::spawn(move || {
        while dripping.write_all(&[0]).is_ok() {
            thread::park_timeout(Duration::from_millis(1));
        }
    });
    let error = ours.read(&mut [0; 16]).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock),
        "{error}"
    );
    assert!(began.elapsed() < LIMIT);
    // Closed with unread bytes, which resets the connection.
    drop(ours);
    dripper.join().unwrap();
}

#[test]
fn what_was_peeked_at_is_read_afterwards() {
    let (ours, mut theirs) = pair();
    assert!(!ours.has_arrived());
    let bytes = numbered(40_000);
    thread::scope(|scope| {
        scope.spawn(|| theirs.write_all(&bytes).unwrap());
        let mut seen = vec![0; 50_000];
        let mut peeked = 0;
        while peeked < bytes.len() {
            peeked = ours.peek(&mut seen).unwrap();
            assert!(seen[..peeked] == bytes[..peeked]);
        }
        assert!(ours.has_arrived());
        let mut received: Vec<u8> = Vec::new();
        while received.len() < bytes.len() {
            let mut part = [0; 3000];
            let count = ours.read(&mut part).unwrap();
            received.extend(&part[..count]);
        }
        assert!(received == bytes);
    });
    assert!(!ours.has_arrived());
}

#[test]
fn the_end_is_announced_and_seen_on_both_sides() {
    let (ours, mut theirs) = pair();
    theirs.conn.send_close_notify();
    theirs.flush().unwrap();
    assert_eq!(ours.read(&mut [0; 16]).unwrap(), 0);
    assert!(ours.has_arrived());
    // Each side ends for itself.
    assert_eq!(ours.try_send(b"last").unwrap(), 4);
    ours.shutdown(Shutdown::Write);
    let mut rest = Vec::new();
    theirs.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"last");
    assert!(ours.try_send(b"x").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However it is cut, by whomever it is sent, with new keys from the peer at any time.
    #[test]
    fn both_directions_carry_every_byte_once(
        sends in proptest::collection::vec((1_usize..70_000, any::<bool>()), 1..12),
        reads in proptest::collection::vec(1_usize..20_000, 1..6),
        refreshes in any::<bool>(),
    ) {
        let (ours, mut theirs) = pair();
        let total: usize = sends.iter().map(|(count, _)| count).sum();
        let bytes = numbered(total);
        let (mut echoed, mut rest) = (Vec::<u8>::new(), Vec::<u8>::new());
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut sent = 0;
                for (count, waits) in &sends {
                    let end = sent + count;
                    while sent < end {
                        sent += match waits {
                            true => ours.send_within(&bytes[sent..end], LIMIT).unwrap(),
                            false => ours.try_send(&bytes[sent..end]).unwrap(),
                        };
                    }
                }
            });
            let reader = scope.spawn(|| {
                let mut received: Vec<u8> = Vec::new();
                for size in reads.iter().cycle() {
                    let mut part = vec![0; *size];
                    match ours.read_by(&mut part, Deadline::after(LIMIT)).unwrap() {
                        0 => break,
                        count => received.extend(&part[..count]),
                    }
                }
                received
            });
            let mut part = [0; 9000];
            while echoed.len() < total {
                let count = theirs.read(&mut part).unwrap();
                echoed.extend(&part[..count]);
                if refreshes {
                    theirs.conn.refresh_traffic_keys().unwrap();
                }
                theirs.write_all(&part[..count]).unwrap();
            }
            theirs.conn.send_close_notify();
            theirs.flush().unwrap();
            rest = reader.join().unwrap();
        });
        prop_assert!(echoed == bytes);
        prop_assert!(rest == bytes);
    }
}
