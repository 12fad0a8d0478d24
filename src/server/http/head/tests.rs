use super::*;
use proptest::prelude::*;

fn head(text: &str) -> Head {
    let (head, length) = parse(text.as_bytes()).unwrap().unwrap();
    assert_eq!(length, text.len());
    head
}

fn status(bytes: &[u8]) -> u16 {
    match parse(bytes) {
        Err(problem) => problem.status,
        Ok(parsed) => panic!("{parsed:?} of {:?}", String::from_utf8_lossy(bytes)),
    }
}

fn status_with(fields: &str) -> u16 {
    status(format!("POST /topics HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes())
}

#[test]
fn a_plain_request_is_read() {
    let head = head(
        "POST /topics/a%20b?x=1 HTTP/1.1\r\nHOST: localhost:8080\r\nX-A:  1 \r\nx-a:2\r\nContent-Length: 3\r\n\r\n",
    );
    assert_eq!(
        (head.method.as_str(), head.path.as_str()),
        ("POST", "/topics/a%20b")
    );
    assert_eq!(head.query.as_deref(), Some("x=1"));
    assert_eq!(head.header("host"), Some("localhost:8080"));
    assert_eq!(head.values("x-a").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(head.body, BodyLength::Bytes(3));
    assert!(head.keep_alive && !head.expects_continue);
}

#[test]
fn bytes_after_the_head_are_not_looked_at() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\0\xff";
    assert_eq!(parse(bytes).unwrap().unwrap().1, bytes.len() - 2);
}

#[test]
fn http_1_0_is_read_and_closes() {
    let head = head("GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(head.version, Version::Http10);
    assert!(!head.keep_alive);
}

#[test]
fn an_absolute_target_must_agree_with_the_host() {
    let absolute = head("GET http://LOCALHOST/x HTTP/1.1\r\nHost: localhost:80\r\n\r\n");
    assert_eq!(absolute.path, "/x");
    assert_eq!(status(b"GET http://a/x HTTP/1.1\r\nHost: b\r\n\r\n"), 400);
}

#[test]
fn malformed_fields_are_400() {
    for fields in [
        "Host: a\r\n folded: b",
        "Host: a\r\n\tfolded: b",
        " Host: a",
        "Host : a",
        "Host\t: a",
        "Host: a\r\n: b",
        "Host: a\r\nno colon",
        "Host: a\r\nX(Y): b",
        "Host: a\r\nX\u{e9}: b",
        "Host: a\r\nX: \u{1}",
        "Host: a\r\nX: \u{b}",
        "Host: a\r\nX: \u{7f}",
        "Host: a\r\nX: \0",
        "Host: a\nX: b",
        "Host: a\rX: b",
        "Host: a\r\r\nX: b",
        "X: y",
        "Host: a\r\nHost: a",
        "Host: a b",
        "Host:",
        "Host: a\r\nContent-Length: -1",
        "Host: a\r\nContent-Length: +1",
        "Host: a\r\nContent-Length: 1x",
        "Host: a\r\nContent-Length: 1\r\ncontent-length: 1",
        "Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        assert_eq!(status_with(fields), 400, "{fields:?}");
    }
}

#[test]
fn what_is_well_formed_but_not_served_has_its_own_status() {
    assert_eq!(status_with("Host: a\r\nTransfer-Encoding: gzip"), 501);
    assert_eq!(status_with("Host: a\r\nExpect: tea"), 417);
    assert_eq!(status(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
    assert_eq!(status(b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    assert_eq!(status(b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    assert_eq!(status(b"GET /\r\n"), 400);
}

#[test]
fn options_may_be_asked_of_the_whole_server() {
    for bytes in [
        &b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"OPTIONS * HTTP/1.0\r\n\r\n",
    ] {
        let (head, _) = parse(bytes).unwrap().unwrap();
        assert_eq!((head.path.as_str(), head.query), ("*", None));
    }
}

#[test]
fn values_above_ascii_are_kept_as_latin_1() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: caf\xe9\r\n\r\n";
    let (head, _) = parse(bytes).unwrap().unwrap();
    assert_eq!(head.header("user-agent"), Some("caf\u{e9}"));
}

proptest! {
    #[test]
    fn any_bytes_are_judged_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn heads_with_a_mutated_byte_are_judged_without_panic(position in 0usize..80, byte in any::<u8>()) {
        let mut bytes = b"POST /topics?a=%20 HTTP/1.1\r\nHost: [::1]:1\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n".to_vec();
        bytes[position] = byte;
        if let Ok(Some((head, length))) = parse(&bytes) {
            prop_assert!(length <= bytes.len());
            prop_assert!(head.path.starts_with('/'));
            prop_assert!(head.header("host").is_some());
            prop_assert!(head.headers.iter().all(|(_, value)| !value.contains(['\r', '\n', '\0'])));
        }
    }

    #[test]
    fn a_head_is_incomplete_until_its_last_byte(cut in 0usize..52) {
        let text = "GET /health HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n";
        prop_assert_eq!(parse(&text.as_bytes()[..cut]).unwrap(), None);
    }
}
