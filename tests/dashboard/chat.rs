//! `examples/chat.html` in two browsers: who is there, messages, lost connections, and names that are HTML.

use serde_json::{Value, json};
use threadcast::ApiKey;

use crate::harness::{TestServer, eventually};
use crate::page::Page;

const EXAMPLE: &str = include_str!("../../examples/chat.html");

/// The example, as if the server had sent it, when somebody has joined.
fn joined(server: &TestServer, name: &str) -> Page {
    let mut page = unjoined(server);
    join(&mut page, name);
    page.await_text("#state", "live");
    assert_eq!(page.eval("document.querySelector('#join').offsetHeight"), 0);
    page
}

fn unjoined(server: &TestServer) -> Page {
    unjoined_with(server, "")
}

fn unjoined_with(server: &TestServer, query: &str) -> Page {
    let mut page = Page::unopened(server);
    page.open_path(&format!("/livez{query}"));
    page.write(EXAMPLE);
    page
}

fn join(page: &mut Page, name: &str) {
    page.fill("#name", name);
    page.press("Enter", 13);
}

fn say(page: &mut Page, text: &str) {
    page.fill("#text", text);
    page.press("Enter", 13);
}

fn await_list(page: &mut Page, selector: &str, expected: &[&str]) {
    let texts = format!("[...document.querySelectorAll('{selector}')].map(row => row.textContent)");
    let mut last = Value::Null;
    eventually(&format!("{selector} is {expected:?}"), || {
        last = page.eval(&texts);
        last == json!(expected)
    });
}

fn await_present(page: &mut Page, expected: &[&str]) {
    await_list(page, "#present li", expected);
    assert_eq!(page.text("#total"), expected.len().to_string());
}

/// The messages without their times.
fn await_messages(page: &mut Page, expected: &[&str]) {
    let texts = "[...document.querySelectorAll('#rows .message')].map(row => row.textContent.replace(/^.*?[0-9]:[0-9]{2}:[0-9]{2}( [AP]M)? /u, ''))";
    let mut last = Value::Null;
    eventually(&format!("the messages are {expected:?}"), || {
        last = page.eval(texts);
        last == json!(expected)
    });
}

/// No errors but the one of the page that was replaced: the server has no icon.
fn expect_no_errors(page: &mut Page) {
    let mut errors = page.errors();
    errors.retain(|error| !error.contains("/favicon.ico"));
    assert_eq!(errors, Vec::<String>::new());
}

fn connections(server: &TestServer) -> Vec<u64> {
    let list = server.http().get("/connections").expect(200);
    let lines = list["connections"].as_array().unwrap().iter();
    lines
        .filter(|line| line["protocol"] == "websocket")
        .map(|line| line["id"].as_u64().unwrap())
        .collect()
}

fn cut_all(server: &TestServer) {
    let open = connections(server);
    for id in &open {
        server
            .http()
            .delete(&format!("/connections/{id}"))
            .expect(200);
    }
    eventually("the cut", || {
        connections(server).iter().all(|id| !open.contains(id))
    });
}

#[test]
fn two_see_each_other_come_and_chat_and_leave() {
    let server = TestServer::with_topic("chat");
    let mut ann = joined(&server, "Ann");
    await_present(&mut ann, &["Ann"]);
    let mut bob = joined(&server, "Bob");
    await_present(&mut bob, &["Ann", "Bob"]);
    await_present(&mut ann, &["Ann", "Bob"]);
    await_list(&mut ann, "#rows .notice", &["Bob has come"]);
    say(&mut ann, "hello");
    await_messages(&mut bob, &["Ann: hello"]);
    say(&mut bob, "good morning");
    for page in [&mut ann, &mut bob] {
        await_messages(page, &["Ann: hello", "Bob: good morning"]);
    }
    // Somebody who comes later reads what was said.
    let mut late = joined(&server, "Bob");
    await_messages(&mut late, &["Ann: hello", "Bob: good morning"]);
    for page in [&mut late, &mut ann] {
        await_present(page, &["Ann", "Bob", "Bob"]);
    }
    drop(late);
    await_present(&mut ann, &["Ann", "Bob"]);
    bob.open_path("/livez");
    await_present(&mut ann, &["Ann"]);
    let notices = [
        "Bob has come",
        "Bob has come",
        "Bob has left",
        "Bob has left",
    ];
    await_list(&mut ann, "#rows .notice", &notices);
    expect_no_errors(&mut ann);
}

#[test]
fn connections_that_are_lost_come_back_and_every_message_is_there_once() {
    let server = TestServer::with_topic("chat");
    let mut ann = joined(&server, "Ann");
    let mut bob = joined(&server, "Bob");
    await_present(&mut ann, &["Ann", "Bob"]);
    let mut said = Vec::new();
    for round in 0..3 {
        cut_all(&server);
        // Typed while nobody is connected, or after.
        for n in 0..3 {
            let text = format!("{round}.{n}");
            say(&mut ann, &text);
            said.push(format!("Ann: {text}"));
        }
        let said: Vec<&str> = said.iter().map(String::as_str).collect();
        for page in [&mut ann, &mut bob] {
            await_messages(page, &said);
            await_present(page, &["Ann", "Bob"]);
        }
    }
    let gaps = "document.querySelectorAll('#rows .gap').length";
    assert_eq!((ann.eval(gaps), bob.eval(gaps)), (json!(0), json!(0)));
}

#[test]
fn messages_that_are_gone_are_missed_visibly() {
    let server = TestServer::start();
    server.create_topic_with("chat", &json!({"history_size": 2}));
    let mut ann = joined(&server, "Ann");
    cut_all(&server);
    let mut other = server.ws();
    other.publish_many("chat", 1, 5);
    await_list(&mut ann, "#rows .gap", &["3 messages are missing here"]);
    // What another program publishes is shown as it is.
    assert_eq!(
        ann.eval("document.querySelectorAll('#rows .message').length"),
        2
    );
}

#[test]
fn topic_that_comes_later_or_again_is_found() {
    let server = TestServer::start();
    let mut ann = unjoined(&server);
    join(&mut ann, "Ann");
    ann.await_text("#rows .gap", "Topic 'chat' does not exist");
    say(&mut ann, "is anybody there?");
    server.create_topic("chat");
    await_messages(&mut ann, &["Ann: is anybody there?"]);
    server.delete_topic("chat");
    ann.await_text("#state", "reconnecting");
    server.create_topic("chat");
    say(&mut ann, "again");
    await_messages(&mut ann, &["Ann: is anybody there?", "Ann: again"]);
    await_present(&mut ann, &["Ann"]);
    ann.await_text("#rows", "the topic began anew");
}

#[test]
fn page_that_is_open_elsewhere_does_not_come_back() {
    let server = TestServer::with_topic("chat");
    let mut ann = joined(&server, "Ann");
    let client_id = ann.eval("`Ann~${sessionStorage.chatPage}`");
    let mut elsewhere = server.ws();
    elsewhere.subscribe("chat", client_id.as_str().unwrap());
    ann.await_text("#state", "this page is open elsewhere");
    eventually("its connection is closed", || {
        connections(&server).len() == 1
    });
    assert_eq!(ann.text("#total"), "–");
}

#[test]
fn names_and_messages_are_text_and_never_html() {
    let server = TestServer::with_topic("chat");
    let mut ann = joined(&server, "Ann");
    let html = "<img src=x onerror=document.title=1>";
    let mut mallory = joined(&server, html);
    await_present(&mut ann, &[html, "Ann"]);
    say(&mut mallory, html);
    await_messages(&mut ann, &[&format!("{html}: {html}")]);
    let other = json!({"name": {"toString": html}, "text": html});
    server.ws().publish("chat", &other);
    ann.await_text("#rows .message:last-child", &other.to_string());
    drop(mallory);
    await_present(&mut ann, &["Ann"]);
    assert_eq!(ann.eval("document.images.length"), 0);
    assert_eq!(ann.eval("document.title"), "Chat");
    expect_no_errors(&mut ann);
}

#[test]
fn page_from_another_host_names_the_server_the_topic_and_the_key() {
    let pages = TestServer::start();
    let origin = format!("http://{}", pages.addr());
    let server = TestServer::with(|config| {
        config.allowed_origins = vec![origin];
        config.api_key = ApiKey::new("s3cret/+~").ok();
        config.auto_create_topics = true;
    });
    let query = format!("?server={}&topic=lobby&token=s3cret%2F%2B~", server.addr());
    let mut ann = unjoined_with(&pages, &query);
    join(&mut ann, "Ann");
    ann.await_text("#state", "live");
    assert_eq!(ann.text("h1"), "lobby");
    say(&mut ann, "hello");
    await_messages(&mut ann, &["Ann: hello"]);
}
