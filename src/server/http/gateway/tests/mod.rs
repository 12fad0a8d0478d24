mod losses;

use super::*;
use crate::broker::Broker;
use crate::config::Config;
use crate::server::rest::fixture;
use crossbeam_channel::bounded;
use std::sync::Barrier;
use std::thread;

const LONG: Duration = Duration::from_secs(10);

const OPTIONS: GatewayOptions = GatewayOptions {
    workers: 2,
    queue_timeout: LONG,
    answer_timeout: LONG,
};

/// An API that answers `DELETE /connections/{id}` by calling `close`.
fn api(close: impl Fn(u64) -> bool + Send + Sync + 'static) -> Arc<Api> {
    fixture::api(&Arc::new(Broker::new(&Config::default())), close)
}

fn gateway(
    options: GatewayOptions,
    close: impl Fn(u64) -> bool + Send + Sync + 'static,
) -> Gateway {
    Gateway::start(options, &api(close), &Panics::default()).unwrap()
}

fn exchange(gateway: &Gateway, method: &str, target: &str, body: &[u8]) -> Response {
    let request = fixture::request(method, target, body);
    gateway.exchange(&fixture::head(method, target), &request)
}

/// Calls the `close` of the API on a worker.
fn close(gateway: &Gateway, id: u64) -> Response {
    exchange(gateway, "DELETE", &format!("/connections/{id}"), b"")
}

fn text(response: &Response) -> &str {
    std::str::from_utf8(&response.body).unwrap()
}

/// Whether a response is that to [`close`] with this id.
fn is_for(response: &Response, id: u64) -> bool {
    text(response) == format!(r#"{{"status":"closed","connection":{id}}}"#)
}

#[test]
fn a_request_reaches_the_handler_and_its_response_comes_back_whole() {
    let gateway = gateway(OPTIONS, |_| true);
    let created = exchange(&gateway, "POST", "/topics", br#"{"name":"a"}"#);
    assert_eq!(
        (created.status, &*created.content_type),
        (201, "application/json")
    );
    for length in [1, 1023, 1024, 1025, 5000, 300_000] {
        // Line ends and bytes above 127 are passed as they are.
        let payload = format!("\"é{}\"", "x".repeat(length));
        let body = format!("{{\r\n\r\n\t\"payload\":\n{payload}}}");
        let published = exchange(&gateway, "POST", "/topics/%61/messages", body.as_bytes());
        assert_eq!(published.status, 201);
        let history = exchange(&gateway, "GET", "/topics/a/messages?last_n=1", b"");
        assert!(text(&history).contains(&payload), "{length}");
    }
    let format = exchange(&gateway, "GET", "/metrics?format=prometheus", b"");
    assert_eq!(
        &*format.content_type,
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert_eq!(format.headers, [("Vary".into(), "Accept".to_owned())]);
}

#[test]
fn a_body_is_read_exactly_whatever_its_bytes_are() {
    let gateway = gateway(OPTIONS, |_| true);
    let mut body: Vec<u8> = (0..=255u8).cycle().take(3000).collect();
    body.extend(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    for id in 0..10 {
        let refused = exchange(&gateway, "POST", "/topics", &body);
        assert!(text(&refused).contains("body: not valid UTF-8"));
        assert!(is_for(&close(&gateway, id), id));
    }
}

#[test]
fn a_method_that_tiny_http_does_not_get_is_answered_as_itself() {
    let gateway = gateway(OPTIONS, |_| true);
    let head = exchange(&gateway, "HEAD", "/livez", b"");
    assert_eq!((head.status, text(&head)), (200, r#"{"status":"ok"}"#));
    for method in ["CONNECT", "get", "X"] {
        let refused = exchange(&gateway, method, "/livez", b"");
        assert_eq!(refused.status, 405, "{method}");
        assert_eq!(
            refused.headers,
            [("Allow".into(), "GET, HEAD, OPTIONS".to_owned())]
        );
    }
}

#[test]
fn a_panicking_handler_answers_500_and_the_worker_lives_on() {
    let gateway = gateway(OPTIONS, |id| {
        assert!(id != 1, "secret text");
        true
    });
    for _ in 0..5 {
        let response = close(&gateway, 1);
        assert_eq!(response.status, 500);
        let body = text(&response);
        assert!(
            body.contains("INTERNAL") && !body.contains("secret"),
            "{body}"
        );
        assert!(is_for(&close(&gateway, 2), 2));
    }
}

#[test]
fn as_many_requests_as_workers_are_answered_at_once() {
    let together = Barrier::new(2);
    let gateway = gateway(OPTIONS, move |_| {
        together.wait();
        true
    });
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(close(&gateway, 1).status, 200));
        }
    });
}

#[test]
fn when_all_workers_are_busy_a_request_is_503_after_the_queue_timeout() {
    let (release, held) = bounded::<()>(0);
    let (entered, has_entered) = bounded::<()>(1);
    let options = GatewayOptions {
        workers: 1,
        queue_timeout: Duration::from_millis(20),
        ..OPTIONS
    };
    let gateway = gateway(options, move |_| {
        let _ = entered.send(());
        let _ = held.recv();
        true
    });
    thread::scope(|scope| {
        let first = scope.spawn(|| close(&gateway, 1));
        has_entered.recv_timeout(LONG).unwrap();
        let refused = close(&gateway, 1);
        assert_eq!(refused.status, 503);
        assert!(
            refused
                .headers
                .iter()
                .any(|(name, _)| name == "Retry-After")
        );
        release.send(()).unwrap();
        assert_eq!(first.join().unwrap().status, 200);
    });
}

#[test]
fn an_answer_that_comes_too_late_is_never_given_to_another_request() {
    let (release, held) = bounded::<()>(0);
    let options = GatewayOptions {
        workers: 1,
        answer_timeout: Duration::from_millis(100),
        ..OPTIONS
    };
    const SLOW: u64 = 7;
    let gateway = gateway(options, move |id| {
        if id == SLOW {
            let _ = held.recv();
        }
        true
    });
    assert_eq!(close(&gateway, SLOW).status, 503);
    release.send(()).unwrap();
    // The worker may still be at the late answer.
    let deadline = Instant::now() + LONG;
    loop {
        let response = close(&gateway, 1);
        if response.status == 200 {
            assert!(is_for(&response, 1));
            break;
        }
        assert!(Instant::now() < deadline, "{response:?}");
    }
}

#[test]
fn after_shutdown_a_request_is_503_and_workers_are_gone() {
    let api = api(|_| true);
    let gateway = Gateway::start(OPTIONS, &api, &Panics::default()).unwrap();
    gateway.shutdown(LONG);
    assert_eq!(Arc::strong_count(&api), 1, "a worker still holds the API");
    gateway.shutdown(LONG);
    for _ in 0..3 {
        let response = close(&gateway, 1);
        assert_eq!(response.status, 503);
        assert!(text(&response).contains("SHUTTING_DOWN"));
    }
}

#[test]
fn a_request_under_way_at_shutdown_is_answered() {
    let (release, held) = bounded::<()>(0);
    let (entered, has_entered) = bounded::<()>(1);
    let gateway = gateway(OPTIONS, move |_| {
        let _ = entered.send(());
        let _ = held.recv();
        true
    });
    thread::scope(|scope| {
        let first = scope.spawn(|| close(&gateway, 1));
        has_entered.recv_timeout(LONG).unwrap();
        let end = scope.spawn(|| gateway.shutdown(LONG));
        release.send(()).unwrap();
        assert_eq!(first.join().unwrap().status, 200);
        end.join().unwrap();
    });
}
