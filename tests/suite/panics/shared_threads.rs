//! Panics in the threads that serve all connections: they continue with the next connection.

use super::{assert_one_panic, await_connections};
use crate::harness::{LogHook, TestServer, TextFile, alone, entry, eventually};

#[test]
fn acceptor_continues_after_a_panic() {
    alone(
        "panics::shared_threads::acceptor_continues_after_a_panic",
        || {
            let hook = LogHook::install();
            let server = TestServer::start();
            let mut old = server.ws();
            hook.panic_at("acceptor", "accepted");
            server.http().expect_end();
            assert_one_panic(&server, &hook);
            old.fence();
            server.ws().close();
            await_connections(&server, 1);
        },
    );
}

#[test]
fn rejector_continues_after_a_panic() {
    alone(
        "panics::shared_threads::rejector_continues_after_a_panic",
        || {
            let hook = LogHook::install();
            let server = TestServer::with(|config| config.max_connections = Some(1));
            let only = server.ws();
            hook.panic_at("rejector", "rejected");
            server.http().expect_end();
            assert_one_panic(&server, &hook);
            server
                .http()
                .read_reply()
                .expect_problem(503, "UNAVAILABLE");
            only.close();
            eventually("new connections are served again", || {
                let mut http = server.http();
                http.try_send_raw(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
                http.try_read_reply()
                    .is_some_and(|reply| reply.status == 200)
            });
        },
    );
}

#[test]
fn reaper_continues_after_a_panic() {
    alone(
        "panics::shared_threads::reaper_continues_after_a_panic",
        || {
            let hook = LogHook::install();
            let server = TestServer::start();
            hook.panic_at("reaper", "connection removed");
            server.ws().close();
            eventually("the reaper panics", || hook.has_panicked());
            assert_one_panic(&server, &hook);
            server.ws().close();
            await_connections(&server, 0);
        },
    );
}

#[test]
fn key_reload_that_panics_is_reported_and_can_be_repeated() {
    alone(
        "panics::shared_threads::key_reload_that_panics_is_reported_and_can_be_repeated",
        || {
            let hook = LogHook::install();
            let keys = entry("a", "secret-of-a", "admin = true");
            let file = TextFile::new(&keys);
            let server = TestServer::with(|config| config.keys_file = Some(file.path().to_owned()));
            hook.panic_at("", "keys reloaded");
            let error = server.reload_keys().unwrap_err();
            assert_eq!(error.file, file.path());
            assert_one_panic(&server, &hook);
            server.reload_keys().unwrap();
            let fields = [("X-API-Key", "secret-of-a")];
            let reply = server.http().request("GET", "/topics", &fields, "");
            reply.expect(200);
        },
    );
}
