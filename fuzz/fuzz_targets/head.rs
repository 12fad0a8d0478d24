//! The head of an HTTP request, and a chunked body behind it.
//!
//! The result does not depend on how the bytes are split. An accepted head has the fields that a plain parser finds, is
//! within the limits, and is read again after it was written out. A chunked body is what a plain decoder makes of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oracle::{chunked, chunked::Outcome, names, pieces};
use threadcast::fuzzing::{self, Body, Chunked, Head, Scanner};

/// Small, so that inputs reach it.
const MAX_BODY_BYTES: usize = 48;
const STATUSES: [u16; 6] = [400, 414, 417, 431, 501, 505];

fuzz_target!(|data: &[u8]| {
    let scanned = Scanner::default().advance(data);
    assert_eq!(
        scan_in_pieces(data),
        scanned,
        "a head in pieces is another one"
    );
    match fuzzing::head(data) {
        Ok(None) => assert_eq!(scanned, Ok(None)),
        Ok(Some((head, length))) => {
            assert_eq!(scanned, Ok(Some(length)));
            check_head(&head, &data[..length]);
            check_body(&data[length..]);
        }
        Err(status) => {
            assert!(STATUSES.contains(&status), "refused with {status}");
            assert!(scanned != Ok(None), "refused although it is not complete");
        }
    }
    check_body(data);
});

fn scan_in_pieces(data: &[u8]) -> Result<Option<usize>, u16> {
    let mut scanner = Scanner::default();
    for end in pieces::ends(data) {
        match scanner.advance(&data[..end]) {
            Ok(None) => {}
            other => return other,
        }
    }
    Ok(None)
}

fn check_head(head: &Head, bytes: &[u8]) {
    assert!(bytes.len() <= 16 * 1024 && head.fields.len() <= 64);
    assert_eq!(
        Scanner::default().advance(&bytes[..bytes.len() - 1]),
        Ok(None)
    );
    let lines = lines(bytes);
    check_request_line(head, &lines[0]);
    let fields: Vec<(String, String)> = lines[1..].iter().map(|line| field(line)).collect();
    assert_eq!(head.fields, fields);
    check_meaning(head);
    let again = write(head);
    let (read_again, length) = fuzzing::head(&again).unwrap().unwrap();
    assert_eq!((&read_again, length), (head, again.len()));
}

/// The lines before the empty one, as Latin-1.
fn lines(bytes: &[u8]) -> Vec<String> {
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let text = text.strip_suffix("\r\n\r\n").unwrap();
    text.split("\r\n").map(str::to_owned).collect()
}

fn check_request_line(head: &Head, line: &str) {
    let path_and_query = path_and_query(head);
    let version = if head.is_http_1_1 { "1.1" } else { "1.0" };
    let target = line.strip_prefix(&format!("{} ", head.method)).unwrap();
    let target = target.strip_suffix(&format!(" HTTP/{version}")).unwrap();
    assert!(
        target.len() <= 4096
            && target
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'#')
    );
    let is_star = (head.method.as_str(), target) == ("OPTIONS", "*");
    assert!(is_token(&head.method) && (is_star || head.path.starts_with('/')));
    assert!(!head.path.contains('?'));
    if is_star || target.starts_with('/') {
        assert_eq!(target, path_and_query);
    } else {
        let (scheme, rest) = target.split_once("://").unwrap();
        assert!(scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"));
        let path = rest.find(['/', '?']).map_or("", |at| &rest[at..]);
        assert_eq!(
            path,
            path_and_query
                .strip_prefix('/')
                .filter(|_| !path.starts_with('/'))
                .unwrap_or(&path_and_query)
        );
    }
    assert_eq!(
        head.is_websocket,
        names::decode(&head.path).as_deref() == Some("/ws")
            && !head.path[1..].contains('/')
            && head.method != "OPTIONS"
    );
}

fn path_and_query(head: &Head) -> String {
    match &head.query {
        Some(query) => format!("{}?{query}", head.path),
        None => head.path.clone(),
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap();
    assert!(is_token(name), "{name:?} is no name");
    assert!(
        value.chars().all(|c| c == '\t' || !c.is_ascii_control()),
        "{value:?}"
    );
    (
        name.to_ascii_lowercase(),
        value.trim_matches([' ', '\t']).to_owned(),
    )
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_graphic() && !"\"(),/:;<=>?@[\\]{}".contains(c))
}

/// The fields agree with the head, and none that delimits the body is repeated.
fn check_meaning(head: &Head) {
    let all = |name: &str| -> Vec<&str> {
        let named = head.fields.iter().filter(|(field, _)| field == name);
        named.map(|(_, value)| value.as_str()).collect()
    };
    let hosts = all("host");
    assert!(hosts.len() == 1 || hosts.is_empty() && !head.is_http_1_1);
    let body = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => Body::None,
        ([length], []) => {
            assert!(!length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()));
            match length.trim_start_matches('0') {
                "" => Body::None,
                digits => Body::Bytes(digits.parse().unwrap_or(u64::MAX)),
            }
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") && head.is_http_1_1 => {
            Body::Chunked
        }
        other => panic!("two readers could see two bodies: {other:?}"),
    };
    assert_eq!(head.body, body);
    let connection = all("connection").join(",");
    let mut options = connection
        .split(',')
        .map(|option| option.trim_matches([' ', '\t']));
    let says_close = options.any(|option| option.eq_ignore_ascii_case("close"));
    assert_eq!(head.keep_alive, head.is_http_1_1 && !says_close);
}

fn write(head: &Head) -> Vec<u8> {
    let version = if head.is_http_1_1 { "1.1" } else { "1.0" };
    let mut text = format!(
        "{} {} HTTP/{version}\r\n",
        head.method,
        path_and_query(head)
    );
    for (name, value) in &head.fields {
        text.push_str(&format!("{name}:{value}\r\n"));
    }
    text.push_str("\r\n");
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect()
}

fn check_body(data: &[u8]) {
    let expected = chunked::decode(data, MAX_BODY_BYTES);
    let whole = decode(std::iter::once(data));
    assert_eq!(whole, expected, "a chunked body is not what it says");
    assert_eq!(
        decode(pieces::of(data)),
        whole,
        "a chunked body in pieces is another one"
    );
}

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut decoder = Chunked::new(MAX_BODY_BYTES);
    let (mut body, mut used) = (Vec::new(), 0);
    for piece in pieces {
        match decoder.decode(piece, &mut body) {
            Ok(taken) => {
                assert!(taken == piece.len() || decoder.is_done());
                used += taken;
            }
            Err(status) => return Outcome::Refused(status),
        }
        assert!(body.len() <= MAX_BODY_BYTES);
    }
    if decoder.is_done() {
        Outcome::Done(body, used)
    } else {
        Outcome::More(body)
    }
}
