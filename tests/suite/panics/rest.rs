//! Panics while a REST request is handled: it gets 500, and nothing else is affected.

use serde_json::json;

use super::{assert_one_panic, await_connections};
use crate::harness::{LogHook, TestServer, alone};

#[test]
fn handler_panic_is_answered_500_and_keeps_the_connection() {
    alone(
        "panics::rest::handler_panic_is_answered_500_and_keeps_the_connection",
        || {
            let hook = LogHook::install();
            let server = TestServer::with(|config| config.rest_workers = 1);
            hook.panic_at("rest-", "topic created");
            let mut http = server.http();
            let detail = http
                .post("/topics", &json!({"name": "orders"}))
                .expect_problem(500, "INTERNAL");
            assert_eq!(detail, "The server failed to answer this request");
            assert_one_panic(&server, &hook);
            server.await_metric("pubsub_panics_total", 1);
            // The only worker is alive, and no lock is held.
            http.post("/topics", &json!({"name": "other"})).expect(201);
            http.get("/topics").expect(200);
            server.ws().publish("other", &json!(1));
        },
    );
}

#[test]
fn panic_at_the_http_edge_is_answered_500() {
    alone(
        "panics::rest::panic_at_the_http_edge_is_answered_500",
        || {
            let hook = LogHook::install();
            let server = TestServer::start();
            hook.panic_at("conn-", "request");
            let mut http = server.http();
            http.get("/topics").expect_problem(500, "INTERNAL");
            http.expect_end();
            assert_one_panic(&server, &hook);
            await_connections(&server, 0);
        },
    );
}
