//! The page at `/`: served without a key, self-contained, with a matching policy. `tests/dashboard` tests it in a browser.

use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use crate::harness::{Reply, TestServer};

fn page() -> (Reply, String) {
    let server = TestServer::start();
    let reply = server.http().get("/");
    assert_eq!(reply.status, 200, "{reply}");
    let text = String::from_utf8(reply.body.clone()).unwrap();
    (reply, text)
}

/// The text between two markers that occur once.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    assert_eq!(text.matches(begin).count(), 1, "{begin}");
    let (_, rest) = text.split_once(begin).unwrap();
    rest.split_once(end).unwrap().0
}

#[test]
fn page_is_html_that_cannot_be_sniffed_framed_or_cached() {
    let (reply, text) = page();
    assert!(text.starts_with("<!doctype html>") && text.trim_end().ends_with("</html>"));
    for (name, value) in [
        ("Content-Type", "text/html; charset=utf-8"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-cache"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
}

#[test]
fn policy_allows_only_this_script_style_and_server() {
    let (reply, text) = page();
    let policy = reply.header("Content-Security-Policy").unwrap();
    let hash = |text: &str| format!("'sha256-{}'", BASE64.encode(&Sha256::digest(text)));
    let script = hash(between(&text, "<script type=\"module\">", "</script>"));
    let style = hash(between(&text, "<style>", "</style>"));
    let mut rules: Vec<_> = policy.split("; ").collect();
    rules.sort_unstable();
    let (script, style) = (format!("script-src {script}"), format!("style-src {style}"));
    let expected = [
        "base-uri 'none'",
        "connect-src 'self'",
        "default-src 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "img-src data:",
        "require-trusted-types-for 'script'",
        &script,
        &style,
        "trusted-types 'none'",
    ];
    assert_eq!(rules, expected);
}

#[test]
fn page_loads_no_other_resources() {
    let (_, text) = page();
    for attribute in [
        "src=", "srcset=", "@import", "url(", "<iframe", "<object", " style=", " on",
    ] {
        let markup = text.split("<script").next().unwrap();
        let found = markup.split("<style>").next().unwrap().to_owned()
            + markup.split("</style>").nth(1).unwrap();
        let is_handler =
            attribute == " on" && !found.contains(" onclick=") && !found.contains(" onload=");
        assert!(is_handler || !found.contains(attribute), "{attribute}");
    }
    assert!(!between(&text, "<style>", "</style>").contains("url("));
}
