//! Public keys from a file that is read again, and from a server over https.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, jwk::Jwk};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::{API_KEY, claims, connect, guarded, key_file, key_path, keys, signed, signed_raw};
use crate::harness::{Authority, Config, Page, TestServer, TextFile, eventually, in_time};

/// What a server for keys answers.
#[derive(Clone)]
enum Answer {
    Body(String),
    Status(u16),
    /// Nothing, until it ends.
    Silence,
    /// Bytes without an end.
    Endless,
}

/// A server for keys over https, with an authority of its own.
struct JwksServer {
    address: SocketAddr,
    authority: TextFile,
    answer: Arc<Mutex<Answer>>,
    requests: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl JwksServer {
    fn start(answer: Answer) -> JwksServer {
        let authority = Authority::new();
        let issued = authority.issue();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![issued.der.into()],
                PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(answer));
        let (requests, is_over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let thread = thread::spawn({
            let (config, answer) = (Arc::new(config), Arc::clone(&answer));
            let (requests, is_over) = (Arc::clone(&requests), Arc::clone(&is_over));
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    requests.fetch_add(1, Ordering::SeqCst);
                    let answer = answer.lock().unwrap().clone();
                    let _peer_left = serve(stream, &config, &answer, &is_over);
                }
            }
        });
        JwksServer {
            address,
            authority: TextFile::new(&authority.pem()),
            answer,
            requests,
            is_over,
            thread: Some(thread),
        }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/jwks.json", self.address.port())
    }

    fn configure(&self, config: &mut Config) {
        config.jwt_keys = keys(&self.url());
        config.jwt_keys_ca_file = Some(self.authority.path().to_owned());
    }

    fn answer_with(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for JwksServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _wakes = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(
    stream: TcpStream,
    config: &Arc<ServerConfig>,
    answer: &Answer,
    is_over: &AtomicBool,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let connection = ServerConnection::new(Arc::clone(config)).unwrap();
    let mut tls = StreamOwned::new(connection, stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tls.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let respond = |tls: &mut StreamOwned<ServerConnection, TcpStream>, status: u16, body: &str| {
        let length = body.len();
        write!(
            tls,
            "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )?;
        tls.conn.send_close_notify();
        tls.flush()
    };
    match answer {
        Answer::Body(body) => respond(&mut tls, 200, body),
        Answer::Status(status) => respond(&mut tls, *status, "no keys here"),
        // The peer gives up.
        Answer::Silence => tls.read(&mut [0]).map(drop),
        Answer::Endless => {
            tls.write_all(b"HTTP/1.1 200 X\r\n\r\n{\"keys\":[")?;
            while !is_over.load(Ordering::SeqCst) {
                tls.write_all(&[b' '; 4096])?;
            }
            Ok(())
        }
    }
}

/// A set of these keys: the public ones of `name`, as `id`.
fn set(keys: &[(&str, &str)]) -> String {
    let jwk = |(id, name): &(&str, &str)| -> Value {
        let pem = key_file(name);
        let key = DecodingKey::from_rsa_pem(&pem).or_else(|_| DecodingKey::from_ec_pem(&pem));
        let mut jwk = Jwk::from_decoding_key(&key.unwrap(), None).unwrap();
        jwk.common.key_id = Some((*id).to_owned());
        serde_json::to_value(jwk).unwrap()
    };
    json!({ "keys": keys.iter().map(jwk).collect::<Vec<_>>() }).to_string()
}

/// A token that the key in this file signs as the one with this id.
fn signed_by(name: &str, id: &str) -> String {
    let key = EncodingKey::from_rsa_pem(&key_file(name)).unwrap();
    let header = format!(r#"{{"alg":"RS256","kid":"{id}"}}"#);
    signed_raw(
        &header,
        &claims("ann", 60).to_string(),
        Algorithm::RS256,
        &key,
    )
}

fn status(server: &TestServer, token: &str) -> u16 {
    let fields = [("X-API-Key", token)];
    server
        .http()
        .request("GET", "/topics/orders", &fields, "")
        .status
}

fn page(server: &TestServer) -> Page {
    let fields = [("X-API-Key", API_KEY)];
    let reply = server.http().request("GET", "/metrics", &fields, "");
    Page::parse(std::str::from_utf8(&reply.body).unwrap())
}

fn await_fetches(server: &TestServer, result: &str, count: u64) {
    let series = format!("pubsub_jwks_refreshes_total{{result=\"{result}\"}}");
    eventually(&series, || page(server).count(&series) >= count);
}

#[test]
fn keys_are_fetched_at_the_start_and_for_an_unknown_id() {
    let jwks = JwksServer::start(Answer::Body(set(&[("1", "rsa.pub.pem")])));
    let server = guarded(|config| jwks.configure(config));
    // The first request that needs the keys waits for them.
    assert_eq!(status(&server, &signed_by("rsa.pem", "1")), 200);
    assert_eq!(jwks.requests(), 1);
    assert_eq!(
        status(&server, &signed_by("other_rsa.pem", "1")),
        401,
        "another key"
    );
    assert_eq!(jwks.requests(), 1, "its id is known");
    // The key is replaced: the first token with the new id makes the server look.
    jwks.answer_with(Answer::Body(set(&[("2", "other_rsa.pub.pem")])));
    let mut open = connect(&server, &signed_by("rsa.pem", "1"));
    assert_eq!(status(&server, &signed_by("other_rsa.pem", "2")), 200);
    assert_eq!(jwks.requests(), 2);
    // The old one is not accepted any more, but who is connected stays so.
    assert_eq!(status(&server, &signed_by("rsa.pem", "1")), 401);
    open.fence();
    // Tokens of the secret need no keys.
    assert_eq!(status(&server, &signed(&claims("ann", 60))), 200);
}

#[test]
fn unknown_ids_make_the_server_look_once_in_a_while() {
    let jwks = JwksServer::start(Answer::Body(set(&[("1", "rsa.pub.pem")])));
    let server = guarded(|config| jwks.configure(config));
    assert_eq!(status(&server, &signed_by("rsa.pem", "1")), 200);
    for number in 0..20 {
        let unknown = format!("unknown-{number}");
        assert_eq!(status(&server, &signed_by("rsa.pem", &unknown)), 401);
    }
    assert_eq!(jwks.requests(), 2);
    let refused = "pubsub_tokens_refused_total{reason=\"unknown_key\"}";
    assert_eq!(page(&server).count(refused), 20);
}

#[test]
fn a_server_whose_keys_cannot_be_fetched_starts_and_refuses_tokens() {
    let jwks = JwksServer::start(Answer::Status(503));
    let server = guarded(|config| jwks.configure(config));
    await_fetches(&server, "failed", 1);
    jwks.answer_with(Answer::Body(set(&[("1", "rsa.pub.pem")])));
    // The first token makes it look again.
    assert_eq!(status(&server, &signed_by("rsa.pem", "1")), 200);
    assert_eq!(
        page(&server).count("pubsub_jwks_refreshes_total{result=\"ok\"}"),
        1
    );
}

#[test]
fn keys_that_cannot_be_fetched_again_stay_valid() {
    for broken in [
        Answer::Status(404),
        Answer::Body("{}".to_owned()),
        Answer::Body(r#"{"keys":[]}"#.to_owned()),
        Answer::Endless,
    ] {
        let jwks = JwksServer::start(Answer::Body(set(&[("1", "rsa.pub.pem")])));
        let server = guarded(|config| jwks.configure(config));
        assert_eq!(status(&server, &signed_by("rsa.pem", "1")), 200);
        jwks.answer_with(broken);
        assert_eq!(status(&server, &signed_by("rsa.pem", "2")), 401);
        await_fetches(&server, "failed", 1);
        assert_eq!(status(&server, &signed_by("rsa.pem", "1")), 200);
    }
}

#[test]
fn a_server_for_keys_that_does_not_answer_holds_up_nobody_else() {
    let jwks = JwksServer::start(Answer::Body(set(&[("1", "rsa.pub.pem")])));
    let server = guarded(|config| jwks.configure(config));
    assert_eq!(status(&server, &signed_by("rsa.pem", "1")), 200);
    jwks.answer_with(Answer::Silence);
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let began = Instant::now();
            assert_eq!(status(&server, &signed_by("rsa.pem", "2")), 401);
            began.elapsed()
        });
        eventually("the server asks for keys", || jwks.requests() == 2);
        let known = signed_by("rsa.pem", "1");
        let began = Instant::now();
        let mut client = connect(&server, &known);
        client.subscribe("orders", "c");
        client.publish("orders", &json!(1));
        client.next_event();
        assert_eq!(status(&server, &known), 200);
        let others = began.elapsed();
        let waited = waits.join().unwrap();
        assert!(waited < Duration::from_secs(6), "{waited:?}");
        assert!(others < waited, "{others:?} and {waited:?}");
    });
    in_time("the shutdown", || server.shutdown());
}

#[test]
fn a_certificate_of_another_authority_is_not_trusted() {
    let jwks = JwksServer::start(Answer::Body(set(&[("1", "rsa.pub.pem")])));
    let other = JwksServer::start(Answer::Silence);
    let server = guarded(|config| {
        jwks.configure(config);
        config.jwt_keys_ca_file = Some(other.authority.path().to_owned());
    });
    await_fetches(&server, "failed", 1);
    assert_eq!(status(&server, &signed_by("rsa.pem", "1")), 401);
}

#[test]
fn a_file_of_keys_is_read_again_and_a_wrong_one_changes_nothing() {
    let file = TextFile::new(&set(&[("1", "rsa.pub.pem")]));
    let path = file.path().to_str().unwrap().to_owned();
    let server = guarded(|config| config.jwt_keys = keys(&path));
    let (first, second) = (signed_by("rsa.pem", "1"), signed_by("other_rsa.pem", "2"));
    assert_eq!(
        [status(&server, &first), status(&server, &second)],
        [200, 401]
    );
    for wrong in [
        "",
        "{}",
        &set(&[]),
        &String::from_utf8(key_file("rsa.pem")).unwrap(),
    ] {
        file.write(wrong);
        let error = server.reload_keys().unwrap_err();
        assert!(error.to_string().contains(&path), "{error}");
        assert_eq!(status(&server, &first), 200, "{wrong}");
    }
    let mut open = connect(&server, &first);
    file.write(&set(&[("2", "other_rsa.pub.pem")]));
    server.reload_keys().unwrap();
    assert_eq!(
        [status(&server, &first), status(&server, &second)],
        [401, 200]
    );
    open.fence();
    // A public key in PEM, in the place of the set.
    file.write(&String::from_utf8(key_file("rsa.pub.pem")).unwrap());
    server.reload_keys().unwrap();
    assert_eq!(
        [status(&server, &first), status(&server, &second)],
        [200, 401]
    );
}

#[test]
fn a_wrong_file_stops_the_start() {
    for (path, reason) in [
        (key_path("absent.pem"), "No such file"),
        (key_path("rsa.pem"), "private key"),
        (key_path("short_rsa.pub.pem"), "2048"),
        (key_path("README.md"), "neither a public key"),
    ] {
        let config = Config {
            port: 0,
            jwt_keys: keys(path.to_str().unwrap()),
            ..Config::default()
        };
        let error = threadcast::Server::bind(config.clone())
            .map(drop)
            .unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        let wrong = threadcast::Server::check(&config, config.settings()).unwrap_err();
        assert_eq!(wrong[0].to_string(), error.to_string());
    }
}
