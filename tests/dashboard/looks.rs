//! The page on a narrow screen, in dark mode, and with the keyboard.

use serde_json::json;

use crate::harness::TestServer;
use crate::page::Page;

fn furnished() -> TestServer {
    let server = TestServer::start();
    let long = "a-rather-long-topic-name.with.many.parts:".repeat(3);
    for topic in ["orders", long.as_str()] {
        server.create_topic(topic);
        let text = "x".repeat(300);
        server.ws().publish(topic, &json!({ "text": text }));
    }
    server
}

#[test]
fn narrow_screens_do_not_scroll_sideways() {
    let server = furnished();
    let mut client = server.ws();
    client.subscribe("orders", &"long-client-id-".repeat(8));
    let mut page = Page::of(&server);
    page.tail("orders");
    page.await_tailed(&[1]);
    page.click("#settings summary");
    for width in [320, 390, 700, 1024] {
        page.resize(width, 800);
        page.await_true(&format!("window.innerWidth === {width}"));
        page.await_true("document.documentElement.scrollWidth <= window.innerWidth");
        let wide = "[...document.querySelectorAll('body *')].filter((element) => !element.closest('.skip, thead, .scroll') && element.getBoundingClientRect().right > innerWidth + 1).map((element) => element.id || element.className)";
        assert_eq!(page.eval(wide), json!([]), "at {width}");
    }
    page.expect_clean();
}

#[test]
fn dark_mode_follows_the_preference() {
    let server = furnished();
    let mut page = Page::of(&server);
    let lightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number).reduce((a, b) => a + b)";
    let light = page.eval(lightness).as_u64().unwrap();
    page.prefer("dark");
    let dark = page.eval(lightness).as_u64().unwrap();
    assert!(light > 600 && dark < 150, "{light} and {dark}");
    page.expect_clean();
}

#[test]
fn page_is_usable_by_keyboard() {
    let server = furnished();
    let mut page = Page::of(&server);
    page.await_row("topic-table", "orders");
    page.eval("document.querySelector('#topic-filter').focus()");
    let focused = |page: &mut Page| page.eval("document.activeElement.textContent.trim()");
    let mut steps = 0;
    while focused(&mut page) != "orders" {
        page.press("Tab", 9);
        steps += 1;
        assert!(steps < 60, "the topic is not reached");
    }
    assert_eq!(
        page.eval("document.activeElement.matches(':focus-visible')"),
        true
    );
    assert_ne!(
        page.eval("getComputedStyle(document.activeElement).outlineStyle"),
        "none"
    );
    page.press("Enter", 13);
    page.await_text("#tail-state", "live");
    page.await_tailed(&[1]);
    // The focus stays while the page updates.
    let seen = page.eval("document.querySelector('#in-spark .curve')?.getAttribute('d') ?? ''");
    page.await_true(&format!(
        "(document.querySelector('#in-spark .curve')?.getAttribute('d') ?? '') !== {seen}"
    ));
    assert_eq!(focused(&mut page), "orders");
    let nameless = "[...document.querySelectorAll('input, select, textarea, button')].filter((field) => !(field.textContent.trim() || field.getAttribute('aria-label') || field.labels?.length)).map((field) => field.id)";
    assert_eq!(page.eval(nameless), json!([]));
    page.expect_clean();
}

#[test]
fn long_names_do_not_push_buttons_out_of_view() {
    let server = furnished();
    let mut client = server.ws();
    client.subscribe("orders", &"w".repeat(128));
    let mut page = Page::of(&server);
    page.fill("#connection-filter", "www");
    page.await_true("document.querySelectorAll('#connection-table tbody tr').length === 1");
    for width in [660, 1024, 1280, 1440, 1920] {
        page.resize(width, 900);
        page.await_true(&format!("window.innerWidth === {width}"));
        let is_in_reach = "[...document.querySelectorAll('#connection-table .actions button, #topic-table .actions button')].every((button) => button.getBoundingClientRect().right <= button.closest('.scroll').getBoundingClientRect().right + 1)";
        assert_eq!(page.eval(is_in_reach), true, "at {width}");
    }
    page.expect_clean();
}

#[test]
fn narrow_screens_sort_by_a_list() {
    let server = furnished();
    let mut client = server.ws();
    client.publish("orders", &json!(2));
    let mut page = Page::of(&server);
    page.resize(390, 800);
    page.await_true(
        "getComputedStyle(document.querySelector('#topic-table thead')).display === 'none'",
    );
    let first = "document.querySelector('#topic-table tbody tr td').textContent";
    for (way, expected) in [
        ("-Head", "orders"),
        ("+Head", "a-rather"),
        ("+Topic", "a-rather"),
        ("-Topic", "orders"),
    ] {
        page.eval(&format!("((list) => {{ list.value = '{way}'; list.dispatchEvent(new Event('change')); }})(document.querySelector('#topic-order'))"));
        page.await_true(&format!("{first}.startsWith('{expected}')"));
    }
    page.expect_clean();
}

#[test]
fn moved_row_keeps_the_focus() {
    let server = TestServer::with_topic("a");
    server.create_topic("b");
    let mut page = Page::of(&server);
    page.await_row("topic-table", "b");
    page.eval("document.querySelector('#topic-table th:nth-child(4) button').click()");
    page.eval("document.querySelector('#topic-table tr:last-child .actions button').focus()");
    let focused = "document.activeElement.getAttribute('aria-label')";
    let last = page.eval(focused);
    let name = last
        .as_str()
        .unwrap()
        .strip_prefix("Delete ")
        .unwrap()
        .to_owned();
    server.ws().publish_many(&name, 1, 3);
    page.await_true(&format!(
        "document.querySelector('#topic-table tbody tr td').textContent === '{name}'"
    ));
    assert_eq!(page.eval(focused), last);
    page.expect_clean();
}
