//! `threadcast nodes` with a server that is no node of a cluster. `tests/cluster` has those that are.

use super::program::{End, run, threadcast};
use crate::harness::TestServer;

fn nodes(server: &TestServer, arguments: &[&str]) -> End {
    let url = format!("ws://{}/ws", server.addr());
    run(threadcast(&["nodes"])
        .args(arguments)
        .env("PUBSUB_URL", url))
}

#[test]
fn server_without_a_cluster_has_no_nodes_and_says_so() {
    let server = TestServer::start();
    for arguments in [&[][..], &["--json"]] {
        let end = nodes(&server, arguments);
        assert_eq!((end.code, end.out.len()), (Some(0), 0), "{end:?}");
        assert_eq!(end.err, ["the server is not a node of a cluster"]);
    }
}

#[test]
fn nodes_are_only_shown_with_the_right_key() {
    let server = TestServer::with(|config| {
        config.api_key = Some(threadcast::ApiKey::new("s3cret").expect("a key"));
    });
    let end = nodes(&server, &[]);
    assert_eq!((end.code, end.out.len()), (Some(1), 0), "{end:?}");
    assert_eq!(end.err.len(), 1, "{end:?}");
    assert!(end.err[0].contains("UNAUTHORIZED"), "{end:?}");
    assert_eq!(nodes(&server, &["--key", "s3cret"]).code, Some(0));
}

#[test]
fn unreachable_server_and_wrong_flags_have_their_exit_codes() {
    let server = TestServer::start();
    for (arguments, code) in [
        (["--url", "ws://127.0.0.1:1/ws"], 1),
        (["--url", "bogus://x"], 2),
        (["list", "--json"], 2),
    ] {
        let end = nodes(&server, &arguments);
        assert_eq!((end.code, end.err.len()), (Some(code), 1), "{end:?}");
    }
}
