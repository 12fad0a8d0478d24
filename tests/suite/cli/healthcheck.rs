//! `threadcast healthcheck`.

use std::net::TcpListener;

use super::program::{Program, run, threadcast};

fn port_of(address: &str) -> &str {
    address.rsplit_once(':').expect("a port").1
}

#[test]
fn live_server_is_healthy() {
    let (_server, address) = Program::serve(&mut threadcast(&["--port", "0"]));
    let end = run(&mut threadcast(&[
        "healthcheck",
        "--port",
        port_of(&address),
    ]));
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
}

#[test]
fn server_on_an_unspecified_address_is_found_with_its_own_variables() {
    let (_server, address) =
        Program::serve(threadcast(&["--port", "0"]).env("PUBSUB_HOST", "0.0.0.0"));
    let mut command = threadcast(&["healthcheck"]);
    command
        .env("PUBSUB_HOST", "0.0.0.0")
        .env("PUBSUB_PORT", port_of(&address));
    // The other variables of the server are ignored.
    let end = run(command.env("PUBSUB_OVERFLOW", "nonsense"));
    assert_eq!(end.code, Some(0), "{end:?}");
}

#[test]
fn closed_port_is_unhealthy() {
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        free.local_addr().expect("an address").port().to_string()
    };
    let end = run(&mut threadcast(&["healthcheck", "--port", &port]));
    assert_eq!((end.code, end.err.len()), (Some(1), 1), "{end:?}");
}

#[test]
fn silent_server_is_unhealthy() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("an address").port().to_string();
    let end = run(&mut threadcast(&["healthcheck", "--port", &port]));
    assert_eq!((end.code, end.err.len()), (Some(1), 1), "{end:?}");
    assert!(end.err[0].contains("no answer within 2s"), "{end:?}");
}

#[test]
fn invalid_port_is_a_usage_error() {
    let end = run(threadcast(&["healthcheck"]).env("PUBSUB_PORT", "99999"));
    assert_eq!((end.code, end.err.len()), (Some(2), 1), "{end:?}");
    assert!(
        end.err[0].starts_with("threadcast: PUBSUB_PORT: '99999' is not allowed: "),
        "{end:?}"
    );
}

#[test]
fn url_flag_selects_the_server() {
    let (_server, address) =
        Program::serve(threadcast(&["--port", "0"]).env("PUBSUB_API_KEY", "s3cret"));
    for url in [format!("ws://{address}/ws"), format!("http://{address}")] {
        let end = run(&mut threadcast(&["healthcheck", "--url", &url]));
        assert_eq!(
            (end.code, end.err.len()),
            (Some(0), 0),
            "without a key: {end:?}"
        );
        let end = run(threadcast(&["healthcheck"]).env("PUBSUB_URL", &url));
        assert_eq!(end.code, Some(0), "{end:?}");
    }
    let end = run(&mut threadcast(&[
        "healthcheck",
        "--url",
        "ftp://example.org",
    ]));
    assert_eq!((end.code, end.err.len()), (Some(2), 1), "{end:?}");
}

#[test]
fn timeout_flag_limits_the_check() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let end = run(&mut threadcast(&[
        "healthcheck",
        "--url",
        &url,
        "--timeout",
        "0.1",
    ]));
    assert_eq!((end.code, end.err.len()), (Some(1), 1), "{end:?}");
    assert!(end.err[0].contains("no answer within 100ms"), "{end:?}");
}
