//! Panics while a REST request is answered: it gets 500, and nothing else happens.

use serde_json::json;

use super::{assert_one_panic, await_connections};
use crate::harness::{Sabotage, TestServer, alone};

#[test]
fn a_handlers_panic_is_answered_500_and_the_connection_goes_on() {
    alone(
        "panics::rest::a_handlers_panic_is_answered_500_and_the_connection_goes_on",
        || {
            let sabotage = Sabotage::install();
            let server = TestServer::with(|config| config.rest_workers = 1);
            sabotage.trap("rest-", "topic created");
            let mut http = server.http();
            let detail = http
                .post("/topics", &json!({"name": "orders"}))
                .expect_problem(500, "INTERNAL");
            assert_eq!(detail, "The server failed to answer this request");
            assert_one_panic(&server, &sabotage);
            server.await_metric("pubsub_panics_total", 1);
            // The one worker lives, and no lock is held.
            http.post("/topics", &json!({"name": "other"})).expect(201);
            http.get("/topics").expect(200);
            server.ws().publish("other", &json!(1));
        },
    );
}

#[test]
fn a_panic_at_the_edge_is_answered_500() {
    alone("panics::rest::a_panic_at_the_edge_is_answered_500", || {
        let sabotage = Sabotage::install();
        let server = TestServer::start();
        sabotage.trap("conn-", "request");
        let mut http = server.http();
        http.get("/topics").expect_problem(500, "INTERNAL");
        http.expect_end();
        assert_one_panic(&server, &sabotage);
        await_connections(&server, 0);
    });
}
