mod losses;

use super::*;
use crate::server::http::message::Response;
use crossbeam_channel::bounded;
use std::sync::Barrier;
use std::thread;

const LONG: Duration = Duration::from_secs(10);
const ROOM: usize = usize::MAX;

const OPTIONS: GatewayOptions = GatewayOptions {
    workers: 2,
    queue_timeout: LONG,
    answer_timeout: LONG,
};

fn gateway(
    options: GatewayOptions,
    handler: impl Fn(&Request) -> Response + Send + Sync + 'static,
) -> Gateway {
    let handler: Arc<Handler> = Arc::new(handler);
    Gateway::start(options, &handler, &Panics::default()).unwrap()
}

fn request(method: &str, path: &str, body: &[u8]) -> Request {
    Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: None,
        headers: vec![("x-body-type".to_owned(), "json".to_owned())],
        body: body.to_vec(),
        keep_alive: true,
    }
}

/// Answers with what it was asked.
fn echo(request: &Request) -> Response {
    let query = request.query.clone().unwrap_or_default();
    let body_type = request.header("x-body-type").unwrap_or("missing");
    let note = format!("{} {}?{query} {body_type}", request.method, request.path);
    Response::new(200, "text/plain", request.body.clone()).with_header("X-Note", note)
}

fn note(answer: &Answer) -> &str {
    let mut headers = answer.headers.iter();
    let found = headers.find(|(name, _)| name == "X-Note");
    found.map(|(_, value)| value.as_str()).unwrap()
}

#[test]
fn a_request_reaches_the_handler_and_its_answer_comes_back_whole() {
    let gateway = gateway(OPTIONS, echo);
    for length in [0, 1, 1023, 1024, 1025, 5000, 300_000] {
        let body = vec![b'x'; length];
        let mut request = request("POST", "/topics/a%20b", &body);
        request.query = Some("c=%2F&d".to_owned());
        let answer = gateway.exchange(&request, ROOM);
        assert_eq!(
            (answer.status, answer.content_type.as_str()),
            (200, "text/plain")
        );
        assert_eq!(note(&answer), "POST /topics/a%20b?c=%2F&d json");
        assert_eq!(answer.body, body);
    }
}

#[test]
fn a_body_with_zeros_and_line_ends_is_passed_as_it_is() {
    let gateway = gateway(OPTIONS, echo);
    let body: Vec<u8> = (0..=255u8).cycle().take(3000).collect();
    assert_eq!(
        gateway.exchange(&request("POST", "/", &body), ROOM).body,
        body
    );
}

#[test]
fn methods_are_passed_by_a_closed_list() {
    let gateway = gateway(OPTIONS, echo);
    for (sent, seen) in [
        ("DELETE", "DELETE"),
        ("HEAD", "GET"),
        ("CONNECT", "OTHER"),
        ("get", "OTHER"),
        ("X", "OTHER"),
    ] {
        let answer = gateway.exchange(&request(sent, "/p", b""), ROOM);
        assert_eq!(note(&answer), format!("{seen} /p? json"));
    }
}

#[test]
fn a_panicking_handler_answers_500_and_the_worker_lives_on() {
    let gateway = gateway(OPTIONS, |request| {
        assert!(request.path != "/panic", "secret text");
        echo(request)
    });
    for _ in 0..5 {
        let answer = gateway.exchange(&request("GET", "/panic", b""), ROOM);
        assert_eq!(answer.status, 500);
        let body = String::from_utf8(answer.body).unwrap();
        assert!(
            body.contains("INTERNAL") && !body.contains("secret"),
            "{body}"
        );
        assert_eq!(
            gateway.exchange(&request("GET", "/", b""), ROOM).status,
            200
        );
    }
}

#[test]
fn a_header_value_that_is_not_plain_is_left_out() {
    let gateway = gateway(OPTIONS, |_| {
        Response::json(200, &1)
            .with_header("X-Bad", "a\r\nX-Worse: b")
            .with_header("X-Odd", "é")
    });
    let answer = gateway.exchange(&request("GET", "/", b""), ROOM);
    assert_eq!((answer.status, answer.headers), (200, Vec::new()));
}

#[test]
fn as_many_requests_as_workers_are_answered_at_once() {
    let together = Barrier::new(2);
    let gateway = gateway(OPTIONS, move |request| {
        together.wait();
        echo(request)
    });
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                assert_eq!(
                    gateway.exchange(&request("GET", "/", b""), ROOM).status,
                    200
                );
            });
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
    let gateway = gateway(options, move |request| {
        let _ = entered.send(());
        let _ = held.recv();
        echo(request)
    });
    thread::scope(|scope| {
        let first = scope.spawn(|| gateway.exchange(&request("GET", "/", b""), ROOM));
        has_entered.recv_timeout(LONG).unwrap();
        let refused = gateway.exchange(&request("GET", "/", b""), ROOM);
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
    let gateway = gateway(options, move |request| {
        if request.path == "/slow" {
            let _ = held.recv();
        }
        echo(request)
    });
    assert_eq!(
        gateway.exchange(&request("GET", "/slow", b""), ROOM).status,
        503
    );
    release.send(()).unwrap();
    // The worker may still be at the late answer.
    let deadline = Instant::now() + LONG;
    loop {
        let answer = gateway.exchange(&request("GET", "/next", b""), ROOM);
        if answer.status == 200 {
            assert_eq!(note(&answer), "GET /next? json");
            break;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
    }
}

#[test]
fn after_shutdown_a_request_is_503_and_workers_are_gone() {
    let handler: Arc<Handler> = Arc::new(echo);
    let gateway = Gateway::start(OPTIONS, &handler, &Panics::default()).unwrap();
    gateway.shutdown(LONG);
    assert_eq!(
        Arc::strong_count(&handler),
        1,
        "a worker still holds the handler"
    );
    gateway.shutdown(LONG);
    for _ in 0..3 {
        let answer = gateway.exchange(&request("GET", "/", b""), ROOM);
        assert_eq!(answer.status, 503);
        assert!(
            String::from_utf8(answer.body)
                .unwrap()
                .contains("SHUTTING_DOWN")
        );
    }
}

#[test]
fn a_request_under_way_at_shutdown_is_answered() {
    let (release, held) = bounded::<()>(0);
    let (entered, has_entered) = bounded::<()>(1);
    let gateway = gateway(OPTIONS, move |request| {
        let _ = entered.send(());
        let _ = held.recv();
        echo(request)
    });
    thread::scope(|scope| {
        let first = scope.spawn(|| gateway.exchange(&request("GET", "/", b""), ROOM));
        has_entered.recv_timeout(LONG).unwrap();
        let end = scope.spawn(|| gateway.shutdown(LONG));
        release.send(()).unwrap();
        assert_eq!(first.join().unwrap().status, 200);
        end.join().unwrap();
    });
}
