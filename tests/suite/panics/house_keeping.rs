//! Panics in the threads that serve all connections: they go on with the next one.

use super::{assert_one_panic, await_connections};
use crate::harness::{KeysFile, Sabotage, TestServer, alone, entry, eventually};

#[test]
fn the_acceptor_goes_on_accepting() {
    alone(
        "panics::house_keeping::the_acceptor_goes_on_accepting",
        || {
            let sabotage = Sabotage::install();
            let server = TestServer::start();
            let mut old = server.ws();
            sabotage.trap("acceptor", "accepted");
            server.http().expect_end();
            assert_one_panic(&server, &sabotage);
            old.fence();
            server.ws().close();
            await_connections(&server, 1);
        },
    );
}

#[test]
fn the_rejector_goes_on_rejecting() {
    alone(
        "panics::house_keeping::the_rejector_goes_on_rejecting",
        || {
            let sabotage = Sabotage::install();
            let server = TestServer::with(|config| config.max_connections = Some(1));
            let only = server.ws();
            sabotage.trap("rejector", "rejected");
            server.http().expect_end();
            assert_one_panic(&server, &sabotage);
            server
                .http()
                .read_reply()
                .expect_problem(503, "UNAVAILABLE");
            only.close();
            eventually("there is room again", || {
                let mut http = server.http();
                http.try_send_raw(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
                http.try_read_reply()
                    .is_some_and(|reply| reply.status == 200)
            });
        },
    );
}

#[test]
fn the_reaper_goes_on_counting() {
    alone("panics::house_keeping::the_reaper_goes_on_counting", || {
        let sabotage = Sabotage::install();
        let server = TestServer::start();
        sabotage.trap("reaper", "forgotten");
        server.ws().close();
        eventually("the reaper panics", || sabotage.has_snapped());
        assert_one_panic(&server, &sabotage);
        server.ws().close();
        await_connections(&server, 0);
    });
}

#[test]
fn a_reload_that_panics_is_told_and_harms_nobody() {
    alone(
        "panics::house_keeping::a_reload_that_panics_is_told_and_harms_nobody",
        || {
            let sabotage = Sabotage::install();
            let keys = entry("a", "secret-of-a", "admin = true");
            let file = KeysFile::new(&keys);
            let server = TestServer::with(|config| config.keys_file = Some(file.path().to_owned()));
            sabotage.trap("", "keys reloaded");
            let error = server.reload_keys().unwrap_err();
            assert_eq!(error.file, file.path());
            assert_one_panic(&server, &sabotage);
            server.reload_keys().unwrap();
            let fields = [("X-API-Key", "secret-of-a")];
            let reply = server.http().request("GET", "/topics", &fields, "");
            reply.expect(200);
        },
    );
}
